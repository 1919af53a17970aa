"""What the multipoles cost that a sky model drops, on skies that have them all.

    python benchmarks/multipoles.py --nside 128 --skies 4 --mask MASK.fits -o benchmarks/results/multipoles_128.json

A model ends where the signal of every multipole is below a share of the noise's (`sims.map_signal.MULTIPOLE_OF_NOISE`).
Error of its exact mean by depth over that of the model with all multipoles, by beam and share.
"""

import numpy as np
from common import BINS, NOISE_STD, Setting, arguments, theory, write

from cmbinpaint.gaussian.solver import GaussianSolver
from cmbinpaint.sims import map_signal
from cmbinpaint.sims.skies import simulate_sky
from cmbinpaint.sims.sky_model import SkyModel
from cmbinpaint.sphere.pixels import pixel_size

BEAMS_PX = (3.0, 5.0, 7.0)
SHARES = (float("inf"), 1.0, 0.5, 0.25, 0.1)  # the first leaves it to the other rules


def main() -> None:
    args = arguments(__doc__ or "").parse_args()
    setting = Setting.at(args.nside, args.mask)
    usual = map_signal.MULTIPOLE_OF_NOISE
    rows = []
    for beam in BEAMS_PX:
        whole = model(args.nside, beam, lmax=3 * args.nside - 1)
        skies = [
            simulate_sky(
                theory(args.nside), args.nside, fwhm=beam * pixel_size(args.nside), noise_std=NOISE_STD,
                pixwin=True, lmax=whole.lmax, seed=seed, return_parts=True,
            )
            for seed in range(args.skies)
        ]  # fmt: skip
        best = rms(setting, whole, skies)
        for share in SHARES:
            map_signal.MULTIPOLE_OF_NOISE = share
            kept = model(args.nside, beam)
            excess = rms(setting, kept, skies) / best
            rows.append(
                {"beam_px": beam, "share": share if np.isfinite(share) else None, "lmax": kept.lmax, "excess": excess,
                 "rms_uK": best}
            )  # fmt: skip
            print(rows[-1], flush=True)
        map_signal.MULTIPOLE_OF_NOISE = usual
    write(
        {"what": "multipoles", "nside": args.nside, "skies": args.skies, "noise_uK": NOISE_STD, "usual": usual,
         "depths_px": BINS[args.nside], "rows": rows},
        args.output,
    )  # fmt: skip


def model(nside: int, beam_px: float, lmax: int | None = None) -> SkyModel:
    fwhm = beam_px * pixel_size(nside)
    return SkyModel.from_theory(theory(nside), nside, fwhm=fwhm, noise_std=NOISE_STD, lmax=lmax)


def rms(setting: Setting, sky_model: SkyModel, skies: list) -> np.ndarray:
    """(bins,) error of the model's exact mean, µK."""
    solver = GaussianSolver(setting.plan.valid, sky_model)
    squares = [
        setting.squares(
            solver.solve(np.where(setting.plan.valid, observed, 0.0), tolerance=3e-3).mean - parts.signal
        )
        for observed, parts in skies
    ]
    return np.sqrt(np.mean(squares, axis=0))


if __name__ == "__main__":
    main()
