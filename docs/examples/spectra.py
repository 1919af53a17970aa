"""
Spectra before and after
========================

``anafast`` of a filled map beside the spectrum of the cut sky, mode-decoupled (MASTER), and the truth.
"""

import healpy as hp
import numpy as np

from cmbinpaint import compare_spectra, inpaint_map
from cmbinpaint.plots import draw_comparison
from cmbinpaint.sims import fiducial_cl, simulate_sky

nside = 64
npix = 12 * nside**2
lmax = 2 * nside
known = {"cl": fiducial_cl(3 * nside - 1), "fwhm": np.radians(2.75), "noise_std": 3.0}
truth = simulate_sky(known["cl"], nside, fwhm=known["fwhm"], pixwin=True, noise_std=3.0, seed=7)
mask = np.abs(hp.pix2ang(nside, np.arange(npix), lonlat=True)[1]) > 15
realizations = inpaint_map(truth, mask, n_realizations=20, seed=1, **known)

result = compare_spectra(realizations[0], target=truth, observed=truth, mask=mask, lmax=lmax, bins=14)
print(result.table().text)

# %%
# D_ell of one realization, of the observed sky decoupled, and of the truth. Beam, pixel window and noise are
# in all of them, as in the maps.

factor = result.bands.centers * (result.bands.centers + 1) / (2 * np.pi)
spectra = {"truth": result.target, "filled": result.filled, "observed, decoupled": result.observed}
figure = draw_comparison(
    result.bands.centers,
    {name: power * factor for name, power in spectra.items()},
    band=result.cosmic_std / result.target,
    note="beam, pixel window and noise included",
)

# %%
# One realization does not show how much the mask hides; the scatter of many does. The true spectrum is one
# more draw of the same kind, so it should be within the scatter in about two thirds of the bands:

ratios = np.array([compare_spectra(sky, target=truth, lmax=lmax, bins=14).transfer for sky in realizations])
for center, mean, scatter in zip(result.bands.centers, ratios.mean(0), ratios.std(0, ddof=1), strict=True):
    print(f"ell {center:5.1f}: filled over true {mean:.3f} ± {scatter:.3f} from realization to realization")
within = np.abs(ratios.mean(0) - 1) < ratios.std(0, ddof=1)
print(f"the truth is within the scatter in {within.sum()} of {within.size} bands")

# %%
# All of them are of *this* sky, with the same observed part: their scatter is not cosmic variance, and their
# mean is no better an estimate of the cosmology. A prediction, even the exact mean, has too little power
# wherever holes are large on the scale of the multipole:

mean = inpaint_map(truth, mask, fill="prediction", **known)
transfer = compare_spectra(mean, target=truth, lmax=lmax, bins=14).transfer
print("exact mean over true:", np.round(transfer, 2))
