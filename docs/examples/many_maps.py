"""
Many maps
=========

An ensemble of simulations with one mask, as an analysis runs them: what is common to all is made once.
"""

import time
import warnings

import healpy as hp
import numpy as np

from cmbinpaint import inpaint_map, plan_inpainting
from cmbinpaint.sims import SkyModel, fiducial_cl, simulate_sky

nside = 64
npix = 12 * nside**2
cl = fiducial_cl(3 * nside - 1)
fwhm, noise_std = np.radians(2.75), 3.0
mask = np.abs(hp.pix2ang(nside, np.arange(npix), lonlat=True)[1]) > 12

# %%
# The plan holds the geometry of the mask; with it is kept what the solver needs for the sky model that it
# was last used with. The sky model says what is known of all the maps.

plan = plan_inpainting(mask)
sky_model = SkyModel.from_theory(cl, nside, fwhm=fwhm, noise_std=noise_std)

ratios = []
for i in range(24):
    sky = simulate_sky(cl, nside, fwhm=fwhm, pixwin=True, noise_std=noise_std, seed=i)
    start = time.perf_counter()
    filled = inpaint_map(sky, plan=plan, sky_model=sky_model, seed=i)
    seconds = time.perf_counter() - start
    ratios.append(hp.anafast(filled, lmax=100)[2:] / hp.anafast(sky, lmax=100)[2:])
    if i < 2:
        print(f"map {i}: {seconds:.2f} s")

# %%
# The mean ratio of filled to true power over the maps, and its standard error:

ratios = np.array(ratios)
for low, high in ((2, 10), (11, 40), (41, 100)):
    means = ratios[:, low - 2 : high - 1].mean(1)
    print(f"ell {low:3d} to {high:3d}: {means.mean():.4f} ± {means.std(ddof=1) / np.sqrt(len(means)):.4f}")

# %%
# Realization i is drawn from ``(seed, i)`` whatever is made beside it, so that an array job makes its share
# and the whole is what one process would have made:

with warnings.catch_warnings():
    warnings.simplefilter("error")
    three = inpaint_map(sky, plan=plan, sky_model=sky_model, seed=0, n_realizations=3)
    last = inpaint_map(sky, plan=plan, sky_model=sky_model, seed=0, n_realizations=1, first_realization=2)
print("the third realization, made alone, is the same:", np.array_equal(three[2], last[0]))

# %%
# On the command line the same is ``cmbinpaint inpaint map.fits --mask mask.fits -o r.fits --realizations
# 100 --seed 1``: outputs that are there already are skipped, so that a job which was stopped is completed
# by typing it again.
