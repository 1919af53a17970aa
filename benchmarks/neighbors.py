"""How many neighbors kriging from coarse to fine needs: error and bias by their numbers.

    python benchmarks/neighbors.py --nside 128 --skies 40 --mask MASK.fits -o benchmarks/results/neighbors_128.json

Nearest neighbors of all pixels, and what pixels of coarse groups see besides (`gaussian.conditioning_sets`).
"""

import time

import healpy as hp
import numpy as np
from common import Setting, arguments, write

from cmbinpaint.gaussian import conditioning_sets as conditioning
from cmbinpaint.gaussian.hole_posterior import hole_factor
from cmbinpaint.gaussian.solver import GaussianSolver

BANDS = (2, 3, 5, 8, 12, 20, 31, 49, 77, 122, 193)  # first multipoles; of nside 128
COARSE = {
    "nothing more": (),
    "for a solver": conditioning.COARSE[1],
    "few": conditioning.COARSE[32],
    "more": conditioning.COARSE[64],
    "many": ((16, 192, 64), (8, 96, 32), (4, 64, 12)),
}
NEAREST = (16, 32, 64)


def main() -> None:
    args = arguments(__doc__ or "").parse_args()
    setting = Setting.at(args.nside, args.mask)
    valid = setting.plan.valid
    solver = GaussianSolver(valid, setting.sky_model)
    skies = [setting.sky(seed) for seed in range(args.skies)]
    means = [np.where(valid, observed, solver.solve(observed).mean) for observed, _ in skies]
    total = np.mean([bands(hp.anafast(o, lmax=BANDS[-1] - 1, iter=1)) for o, _ in skies], axis=0)
    rows = []
    for name, coarse in COARSE.items():
        for nearest in NEAREST if name in ("more", "few") else NEAREST[1:2]:
            conditioning.COARSE = {1: coarse}
            start = time.perf_counter()
            factor = hole_factor(valid, setting.sky_model, nearest=nearest)
            seconds = time.perf_counter() - start
            figures = grade(setting, factor, skies, means, total)
            rows.append({"coarse": name, "nearest": nearest, "plan_s": seconds, **figures})
            print(rows[-1], flush=True)
    write(
        {
            "what": "neighbors", "nside": args.nside, "skies": args.skies, "bands": BANDS, "coarse": COARSE,
            "rows": rows,
        },
        args.output,
    )  # fmt: skip


def grade(setting, factor, skies, means, total) -> dict:
    """Excess by depth, and bias of realizations (2 C(F, F - M) / C, M filled with the exact mean) in percent."""
    errors, bias = [], []
    for (observed, signal), mean in zip(skies, means, strict=True):
        filled = np.where(setting.plan.valid, observed, 0.0)
        filled[factor.holes] = factor.mean(filled)
        errors.append([setting.squares(filled - signal), setting.squares(mean - signal)])
        bias.append(200 * bands(hp.anafast(filled, filled - mean, lmax=BANDS[-1] - 1, iter=1)) / total)
    ours, best = np.mean(errors, axis=0)
    return {
        "excess": np.sqrt(ours / best), "bias_percent": np.mean(bias, axis=0),
        "error_percent": np.std(bias, axis=0, ddof=1) / np.sqrt(len(bias)),
    }  # fmt: skip


def bands(cl: np.ndarray) -> np.ndarray:
    return np.add.reduceat((2 * np.arange(cl.size) + 1) * cl, BANDS[:-1])


if __name__ == "__main__":
    main()
