"""Error by depth over the exact mean's, and the steps and seconds from each start to the exact mean.

    python benchmarks/excess.py --nside 128 --skies 4 --mask MASK.fits -o excess_128.json

Truth is the beam-convolved signal without noise; the exact mean is the solver run to 1e-3 posterior standard
deviations, given the sky model and with one estimated from the map. Starts: nothing in the holes, the solver's own
first guess, and the prediction of a model.
"""

import time
from typing import Any

import numpy as np
from common import Setting, arguments, write

from cmbinpaint.gaussian.solver import GaussianSolver
from cmbinpaint.pipeline.filler import Filler
from cmbinpaint.pipeline.models import load_model
from cmbinpaint.sims import estimate_sky_model

STEPS = (1, 2, 3, 5, 8, 12, 20)
CLOSE = 0.1  # posterior standard deviations
TURNS = 5  # of the whole way from the model's prediction, whose median counts


def steps_to_close(away: np.ndarray) -> int | None:
    """The first of `STEPS`, or none at all, after which the worst depth bin is close to the exact mean."""
    return next((s for s, d in zip((0, *STEPS), away, strict=True) if d <= CLOSE), None)


def whole_seconds(inpainter: Any, setting: Setting, steps: int, observed: np.ndarray) -> float:
    """Plan, set-up of the solver where there are steps, prediction and steps, for a first map."""
    start = time.perf_counter()
    Filler.prepare(inpainter, setting.plan, setting.sky_model, steps).predict(observed)
    return time.perf_counter() - start


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.set_defaults(model="kriging")
    args = parser.parse_args()
    setting = Setting.at(args.nside, args.mask)
    plan, model = setting.plan, setting.sky_model
    solver = GaussianSolver(plan.valid, model)
    zero, own = "zero", "the solver's own"
    inpainter = load_model(args.model)
    start = time.perf_counter()
    predictor = inpainter.prepare(plan, model)
    plan_seconds = time.perf_counter() - start
    errors: dict[str, list[np.ndarray]] = {}
    distances: dict[str, list[np.ndarray]] = {}
    seconds: dict[str, list[float]] = {}
    for seed in range(args.skies):
        sky, signal = setting.sky(seed)
        observed = np.where(plan.valid, sky, 0.0)
        errors.setdefault("field", []).append(setting.squares(signal))
        guess = np.zeros(observed.size)
        guess[solver.holes] = solver.factor.mean(observed)
        first: dict[str, np.ndarray] = {zero: observed, own: np.where(plan.valid, observed, guess)}
        errors.setdefault("the solver's own first guess (before steps)", []).append(
            setting.squares(guess - signal)
        )
        start = time.perf_counter()
        first[args.model] = predictor.predict(observed)
        seconds.setdefault(args.model, []).append(time.perf_counter() - start)
        errors.setdefault(f"{args.model} (before steps)", []).append(
            setting.squares(first[args.model] - signal)
        )
        exact = solver.solve(observed, tolerance=1e-3).mean
        errors.setdefault("exact", []).append(setting.squares(exact - signal))
        found = estimate_sky_model(observed, plan.valid, nside=args.nside)
        filled = GaussianSolver(plan.valid, found).solve(observed, tolerance=1e-3).mean
        errors.setdefault("exact, sky model from the map", []).append(setting.squares(filled - signal))
        for name, guess in first.items():
            rows = [setting.squares(guess - exact)]
            start = time.perf_counter()
            for steps in STEPS:
                rows.append(setting.squares(solver.solve(observed, start=guess, steps=steps).mean - exact))
            seconds.setdefault(f"{name}: all steps", []).append(time.perf_counter() - start)
            distances.setdefault(name, []).append(np.array(rows))
    posterior = np.mean(errors["exact"], axis=0)
    rms = {name: np.sqrt(np.mean(e, axis=0)) for name, e in errors.items()}
    away = {name: np.sqrt(np.mean(d, axis=0) / posterior).max(axis=1) for name, d in distances.items()}
    per_step = {n: np.mean(seconds[f"{n}: all steps"]) / sum(STEPS) for n in first}
    close = {n: steps_to_close(away[n]) for n in first}
    whole = [whole_seconds(inpainter, setting, close[args.model], observed) for _ in range(TURNS)]
    write(
        {
            "what": "excess", "nside": args.nside, "skies": args.skies, "lmax": model.lmax, "fsky": plan.fsky,
            "pixels": np.bincount(setting.bin_of, minlength=5),
            "rms_uK": rms,
            "excess": {n: r / rms["exact"] for n, r in rms.items() if n not in ("exact", "field")},
            "steps": (0, *STEPS),
            "worst_distance_in_posterior_std": away,
            "steps_to_0.1_posterior_std": close,
            "seconds_plan": {args.model: plan_seconds},
            "seconds_predict": {args.model: np.mean(seconds[args.model])},
            "seconds_a_step": per_step,
            "seconds_whole": {args.model: np.median(whole)},
        },
        args.output,
    )  # fmt: skip


if __name__ == "__main__":
    main()
