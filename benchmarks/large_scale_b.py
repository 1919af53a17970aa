"""What it brings that the factor of Q and U knows how little B there is on large scales: eigenvalues, steps, time.

    python benchmarks/large_scale_b.py --nside 128 --noise-uk-arcmin 2 8 33
    python benchmarks/large_scale_b.py --nside 64 --noise-uk-arcmin 2 --noise-t 2 --skies 2

Planck-like mask, beam of three pixels, with and without. Ritz values of some steps of conjugate gradients (Golub & Van
Loan, Matrix Computations, section 11.3) show the extreme eigenvalues of the preconditioned system, 1 where
preconditioner and system agree; then the seconds of the plan and of a map, and the steps to the solver's tolerance.
"""

import time
from typing import Any

import numpy as np
from common import Setting, arguments, write
from polarization import model_of

from cmbinpaint.gaussian import large_scale_b
from cmbinpaint.gaussian.solver import GaussianSolver
from cmbinpaint.pipeline.filler import draw_observation
from cmbinpaint.sims import SkyModel
from cmbinpaint.sphere.harmonics import alm_dot


def ritz_values(solver: GaussianSolver, observed: np.ndarray, steps: int) -> np.ndarray:
    """(steps,) eigenvalues of the tridiagonal matrix that conjugate gradients make of the system."""
    lmax, precondition = solver.harmonics.lmax, solver._preconditioner.apply
    residual = solver._right_hand_side(observed, 0.0)
    direction = precondition(residual)
    squared = alm_dot(residual, direction, lmax)
    lengths, ratios = [], []
    for _ in range(steps):
        image = solver.apply(direction)
        lengths.append(squared / alm_dot(direction, image, lmax))
        residual = residual - lengths[-1] * image
        conditioned = precondition(residual)
        before, squared = squared, alm_dot(residual, conditioned, lmax)
        ratios.append(squared / before)
        direction = conditioned + ratios[-1] * direction
    length, ratio = np.array(lengths), np.array(ratios[:-1])
    diagonal = 1 / length + np.concatenate([[0.0], ratio / length[:-1]])
    beside = np.sqrt(ratio) / length[:-1]
    return np.linalg.eigvalsh(np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1))


def measure(valid: np.ndarray, model: SkyModel, skies: int, ritz_steps: int) -> dict[str, Any]:
    """Plan, fills and eigenvalues of one solver."""
    observed = [np.add(*draw_observation(model, np.random.default_rng(seed))) for seed in range(skies)]
    observed = [np.where(valid, sky, 0.0) for sky in observed]
    begin = time.perf_counter()
    solver = GaussianSolver(np.stack([valid] * model.fields.n), model)
    planned = time.perf_counter()
    steps = [solver.solve(sky).steps for sky in observed]
    seconds = {"plan": planned - begin, "map": (time.perf_counter() - planned) / skies}
    values = ritz_values(solver, observed[0], ritz_steps)
    return {
        "steps": steps, "seconds": seconds, "least": values[:3].tolist(), "largest": values[-3:].tolist()
    }  # fmt: skip


def main() -> None:
    """With and without, for each noise level."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--noise-uk-arcmin", type=float, nargs="+", default=[2.0, 8.0, 33.0])
    parser.add_argument("--noise-t", type=float, help="of T, µK arcmin; without it Q and U alone are filled")
    parser.add_argument("--ritz-steps", type=int, default=60)
    args = parser.parse_args()
    valid, rows, most = Setting.at(args.nside, args.mask).plan.valid, [], large_scale_b._VALUES
    for level in args.noise_uk_arcmin:
        for with_b in (True, False):
            large_scale_b._VALUES = most if with_b else 0
            found = measure(valid, model_of(args.nside, args.noise_t, level), args.skies, args.ritz_steps)
            rows.append({"noise": level, "with B": with_b, **found})
            print(rows[-1], flush=True)
    write(
        {"what": "large_scale_b", "nside": args.nside, "noise of T": args.noise_t, "rows": rows}, args.output
    )


if __name__ == "__main__":
    main()
