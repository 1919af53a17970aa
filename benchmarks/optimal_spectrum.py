"""Optimal bandpowers over many skies: are they right in the mean, are their errors true, what do they gain?

python benchmarks/optimal_spectrum.py --nside 32 --skies 2000 -o optimal_32.json

Each sky behind the package's Planck-like mask goes through the estimator and, beside it, through the decoupled
pseudo-spectrum (MASTER) of the same pixels, nothing apodized.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from cmbinpaint.pipeline.optimal_spectrum import Estimator
from cmbinpaint.sims import SkyModel, fiducial_cl, simulate_sky
from cmbinpaint.spectra.bandpowers import log_bands
from cmbinpaint.spectra.mode_coupling import coupling_matrix, master
from cmbinpaint.sphere.pixels import pixel_size
from cmbinpaint.sphere.planck_mask import planck_like_mask
from cmbinpaint.sphere.windows import gaussian_beam, pixel_window

NOISE = 3.0
BANDS = 12


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nside", type=int, default=32)
    parser.add_argument("--skies", type=int, default=200)
    parser.add_argument("-o", "--output", type=Path)
    args = parser.parse_args()
    nside, lmax = args.nside, 3 * args.nside - 1
    cl, fwhm, valid = fiducial_cl(lmax), 3 * pixel_size(nside), planck_like_mask(nside)
    model = SkyModel.from_theory(cl, nside, fwhm=fwhm, noise_std=NOISE, lmax=lmax)
    window = np.square(gaussian_beam(fwhm, lmax) * pixel_window(nside, lmax))
    bands = log_bands(2, 3 * nside // 2, BANDS, min_width=2)
    estimator = Estimator(valid, model, bands, window, seed=1)
    bias = estimator.noise_bias(400)
    wanted, errors = estimator.windows @ cl, np.sqrt(np.diag(estimator.solved))
    coupling = coupling_matrix(valid.astype(float), lmax)
    optimal, pseudo = np.empty((2, args.skies, bands.n))
    for seed in range(args.skies):
        sky = simulate_sky(cl, nside, fwhm=fwhm, noise_std=NOISE, pixwin=True, seed=seed)
        sky = np.where(valid, sky - sky[valid].mean(), 0.0)
        optimal[seed] = estimator.estimate(sky) - bias
        pseudo[seed] = master(sky, valid.astype(float), bands, shape=model.signal_cl, coupling=coupling)
    mean, scatter = optimal.mean(axis=0), optimal.std(axis=0, ddof=1)
    chi2 = args.skies * (mean - wanted) @ np.linalg.solve(estimator.solved, mean - wanted)
    result = {
        "what": "optimal_spectrum", "nside": nside, "skies": args.skies, "fsky": float(valid.mean()),
        "edges": bands.edges.tolist(), "bias_sigma": ((mean - wanted) / scatter * np.sqrt(args.skies)).tolist(),
        "chi2": float(chi2), "scatter_over_error": (scatter / errors).tolist(),
        "error_over_cosmic": (errors / wanted / np.sqrt(2 / bands.n_modes / valid.mean())).tolist(),
        "pseudo_over_optimal": (pseudo.std(axis=0, ddof=1) / bands.bin(model.signal_cl) / (scatter / wanted)).tolist(),
    }  # fmt: skip
    text = json.dumps(result, indent=1)
    print(text)
    if args.output:
        args.output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
