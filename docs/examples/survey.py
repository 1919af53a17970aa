"""
A survey
========

A part of the sky was observed. Its holes are filled, and the rest of the sky is left alone.
"""

import healpy as hp
import numpy as np

from cmbinpaint import inpaint_map, plan_inpainting
from cmbinpaint.plots import draw_sky
from cmbinpaint.sims import fiducial_cl, simulate_sky
from cmbinpaint.spectra import log_bands, master

nside = 64
npix = 12 * nside**2
lon, lat = hp.pix2ang(nside, np.arange(npix), lonlat=True)
footprint = (np.abs(lat) < 35) & ((lon < 70) | (lon > 290))
depth = 4.0 + 4.0 * np.abs(lat) / 35  # µK per pixel: less time was spent towards the survey's edge
cl, fwhm = fiducial_cl(3 * nside - 1), np.radians(2.75)
truth = simulate_sky(cl, nside, fwhm=fwhm, pixwin=True, noise_std=depth, seed=8)

mask = footprint.copy()
for center in np.random.default_rng(9).normal(size=(150, 3)):
    mask[hp.query_disc(nside, center, np.radians(2))] = False
sky = np.where(mask, truth, hp.UNSEEN)

# %%
# ``exclude`` says which pixels are neither data nor to be filled. On a small sky give the spectrum, beam and
# noise (here a map of it) rather than have them estimated.

plan = plan_inpainting(mask, exclude=~footprint)
filled = inpaint_map(sky, plan=plan, cl=cl, fwhm=fwhm, noise_std=depth, seed=1)
print(f"data on {100 * plan.fsky:.0f} % of the sky, {plan.n_holes} holes, {plan.targets.sum()} pixels filled")
print("outside the survey as it was:", bool((filled[~footprint] == hp.UNSEEN).all()))
shown = np.where(footprint, filled, np.nan)
ax = draw_sky(
    shown, unit="uK_CMB", pixels=500, outline=mask, title="filled inside the survey; holes outlined"
)

# %%
# The spectrum of the survey, decoupled (MASTER): weights with holes, and the footprint alone on the filled
# map, both relative to the footprint of the true sky. Holes cost most where the beam has made the spectrum
# steep.

bands = log_bands(20, 2 * nside, 8, min_width=10)
whole = master(truth, footprint.astype(float), bands)
with_holes = master(sky, mask.astype(float), bands)
without = master(np.where(footprint, filled, 0.0), footprint.astype(float), bands)
for ell, a, b in zip(bands.centers, with_holes / whole, without / whole, strict=True):
    print(f"ell {ell:5.1f}: holes masked {a:.3f}, holes filled {b:.3f}")
