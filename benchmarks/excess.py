"""Error by depth over the exact mean's, and the steps and seconds from each start to the exact mean.

    python benchmarks/excess.py --nside 128 --skies 4 --mask MASK.fits -o excess_128.json

Truth is the beam-convolved signal without noise; the exact mean is the solver run to 1e-3 posterior standard
deviations. Starts: nothing in the holes, the solver's own first guess, and each model's prediction. All starts share
one solver, whose preconditioner sees 16 neighbors; the network's is also walked on with its own factor, as it ships.
"""

import time
from typing import Any

import numpy as np
from common import Setting, arguments, write

from cmbinpaint.gaussian.solver import GaussianSolver
from cmbinpaint.pipeline.filler import Filler
from cmbinpaint.pipeline.models import load_model

STEPS = (1, 2, 3, 5, 8, 12, 20)
CLOSE = 0.1  # posterior standard deviations
TURNS = 5  # of the whole way from each start, whose medians count


def steps_to_close(away: np.ndarray) -> int | None:
    """The first of `STEPS`, or none at all, after which the worst class of depth is close to the exact mean."""
    return next((s for s, d in zip((0, *STEPS), away, strict=True) if d <= CLOSE), None)


def whole_seconds(inpainter: Any, setting: Setting, steps: int, observed: np.ndarray) -> float:
    """Plan, set-up of the solver where there are steps, prediction and steps, for a first map."""
    start = time.perf_counter()
    Filler.prepare(inpainter, setting.plan, setting.sky_model, steps).predict(observed)
    return time.perf_counter() - start


def main() -> None:
    args = arguments(__doc__ or "").parse_args()
    setting = Setting.at(args.nside, args.mask)
    plan, model = setting.plan, setting.sky_model
    solver = GaussianSolver(plan.valid, model)
    zero, own = "zero", "the solver's own"
    own_factor = f"{args.model}, its own factor"
    starts, plans = {zero: None, own: None}, {}
    inpainters = {name: load_model(name) for name in ("kriging", args.model)}
    for name, inpainter in inpainters.items():
        start = time.perf_counter()
        filler = Filler.prepare(inpainter, plan, model, None)
        starts[name], plans[name] = filler, time.perf_counter() - start
    solvers = {own_factor: starts[args.model].solver}
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
        for name, filler in starts.items():
            if filler is None:
                continue
            start = time.perf_counter()
            first[name] = filler.predictor.predict(observed)
            seconds.setdefault(name, []).append(time.perf_counter() - start)
            errors.setdefault(f"{name} (before steps)", []).append(setting.squares(first[name] - signal))
        exact = solver.solve(observed, tolerance=1e-3).mean
        errors.setdefault("exact", []).append(setting.squares(exact - signal))
        default = starts[args.model]
        start = time.perf_counter()
        shipped = default.predict(observed)
        seconds.setdefault(f"{args.model} as shipped", []).append(time.perf_counter() - start)
        errors.setdefault(f"{args.model} as shipped", []).append(setting.squares(shipped - signal))
        distances.setdefault(f"{args.model} as shipped", []).append(setting.squares(shipped - exact)[None])
        first[own_factor] = first[args.model]
        for name, guess in first.items():
            walk = solvers.get(name, solver)
            rows = [setting.squares(guess - exact)]
            start = time.perf_counter()
            for steps in STEPS:
                rows.append(setting.squares(walk.solve(observed, start=guess, steps=steps).mean - exact))
            seconds.setdefault(f"{name}: all steps", []).append(time.perf_counter() - start)
            distances.setdefault(name, []).append(np.array(rows))
    posterior = np.mean(errors["exact"], axis=0)
    rms = {name: np.sqrt(np.mean(e, axis=0)) for name, e in errors.items()}
    away = {name: np.sqrt(np.mean(d, axis=0) / posterior).max(axis=1) for name, d in distances.items()}
    per_step = {n: np.mean(seconds[f"{n}: all steps"]) / sum(STEPS) for n in first}
    close = {n: steps_to_close(away[n]) for n in first}
    whole: dict[str, list[float]] = {name: [] for name in inpainters}
    for _ in range(TURNS):
        for name, inpainter in inpainters.items():
            steps = close[own_factor if name == args.model else name]
            whole[name].append(whole_seconds(inpainter, setting, steps, observed))
    write(
        {
            "what": "excess", "nside": args.nside, "skies": args.skies, "lmax": model.lmax, "fsky": plan.fsky,
            "pixels": np.bincount(setting.bin_of, minlength=5),
            "rms_uK": rms,
            "excess": {n: r / rms["exact"] for n, r in rms.items() if n not in ("exact", "field")},
            "steps": (0, *STEPS),
            "worst_distance_in_posterior_std": away,
            "steps_to_0.1_posterior_std": close,
            "seconds_plan": plans,
            "seconds_predict": {n: np.mean(seconds[n]) for n in (*plans, f"{args.model} as shipped")},
            "seconds_a_step": per_step,
            "seconds_whole": {n: np.median(s) for n, s in whole.items()},
        },
        args.output,
    )  # fmt: skip


if __name__ == "__main__":
    main()
