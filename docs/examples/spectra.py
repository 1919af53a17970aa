"""
Spectra before and after
========================

``anafast`` of a filled map against the cut sky's pseudo-spectrum, the decoupled one (MASTER), and the
truth.
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
# D_ell of one realization, of the observed sky decoupled, and of the truth. All hold beam, pixel window and
# noise, as the maps do.

factor = result.bands.centers * (result.bands.centers + 1) / (2 * np.pi)
spectra = {"truth": result.target, "filled": result.filled, "observed, decoupled": result.observed}
figure = draw_comparison(
    result.bands.centers,
    {name: power * factor for name, power in spectra.items()},
    band=result.cosmic_std / result.target,
    note="beam, pixel window and noise included",
)

# %%
# One realization cannot tell what was lost behind the mask; many of them scatter by it. The true spectrum
# is one more draw of the same kind, so that some two thirds of the bands should hold it within that
# scatter:

ratios = np.array([compare_spectra(sky, target=truth, lmax=lmax, bins=14).transfer for sky in realizations])
for center, mean, scatter in zip(result.bands.centers, ratios.mean(0), ratios.std(0, ddof=1), strict=True):
    print(f"ell {center:5.1f}: filled over true {mean:.3f} ± {scatter:.3f} from realization to realization")
within = np.abs(ratios.mean(0) - 1) < ratios.std(0, ddof=1)
print(f"the truth is within the scatter in {within.sum()} of {within.size} bands")

# %%
# All of them are of *this* sky: the observed part is the same, so their scatter holds no cosmic variance,
# and a mean over them is no better an estimate of the cosmology. A prediction, even the exact mean, has too
# little power, wherever the holes are deep on the scale of the multipole:

mean = inpaint_map(truth, mask, fill="prediction", **known)
transfer = compare_spectra(mean, target=truth, lmax=lmax, bins=14).transfer
print("exact mean over true:", np.round(transfer, 2))
