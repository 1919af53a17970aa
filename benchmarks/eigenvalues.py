"""The largest eigenvalues of the solver's preconditioned system: what decides how many steps it takes.

    python benchmarks/eigenvalues.py --nside 128 --noise-uk-arcmin 2 8 33

Q and U behind the Planck-like mask, beam of three pixels: Ritz values of some steps of conjugate gradients (Golub &
Van Loan, Matrix Computations, section 11.3). 1 is where preconditioner and system agree.
"""

import numpy as np
from common import Setting, arguments, write

from cmbinpaint.gaussian.solver import GaussianSolver
from cmbinpaint.pipeline.filler import draw_observation
from cmbinpaint.sims import SkyModel, fiducial_spectra
from cmbinpaint.sphere.harmonics import alm_dot
from cmbinpaint.sphere.pixels import pixel_size


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


def main() -> None:
    """The extreme values for each noise level."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--noise-uk-arcmin", type=float, nargs="+", default=[2.0, 8.0, 33.0])
    parser.add_argument("--steps", type=int, default=60)
    args = parser.parse_args()
    valid = Setting.at(args.nside, args.mask).plan.valid
    found = {}
    for level in args.noise_uk_arcmin:
        model = SkyModel.from_theory(
            fiducial_spectra(3 * args.nside - 1)[1:3], args.nside, fwhm=3 * pixel_size(args.nside),
            noise_std=level / np.degrees(60 * pixel_size(args.nside)),
        )  # fmt: skip
        solver = GaussianSolver(np.stack([valid, valid]), model)
        observed = np.where(valid, np.add(*draw_observation(model, np.random.default_rng(0))), 0.0)
        values = ritz_values(solver, observed, args.steps)
        found[f"{level:g}"] = {"least": values[:3].tolist(), "largest": values[-5:].tolist()}
        print(level, found[f"{level:g}"], flush=True)
    write({"what": "eigenvalues", "nside": args.nside, "steps": args.steps, "values": found}, args.output)


if __name__ == "__main__":
    main()
