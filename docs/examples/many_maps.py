"""
Many maps
=========

An ensemble of simulations with one mask, as an analysis runs them: what is common to all is computed once.
"""

import time
from itertools import pairwise

import healpy as hp
import numpy as np

from cmbinpaint import Draws, inpaint_map, plan_inpainting
from cmbinpaint.plots import new_axes
from cmbinpaint.sims import SkyModel, fiducial_cl, simulate_sky

nside = 64
npix = 12 * nside**2
cl = fiducial_cl(3 * nside - 1)
fwhm, noise_std = np.radians(2.75), 3.0
mask = np.abs(hp.pix2ang(nside, np.arange(npix), lonlat=True)[1]) > 12

# %%
# The plan holds the geometry of the mask, and keeps what was prepared for the model and sky model that it was
# last used with. The sky model says what is known of all the maps.

plan = plan_inpainting(mask)
sky_model = SkyModel.from_theory(cl, nside, fwhm=fwhm, noise_std=noise_std)

edges = [2, 4, 8, 16, 32, 64, 101]
true, found = [], []
for i in range(24):
    sky = simulate_sky(cl, nside, fwhm=fwhm, pixwin=True, noise_std=noise_std, seed=i)
    start = time.perf_counter()
    filled = inpaint_map(sky, plan=plan, sky_model=sky_model, seed=i)
    seconds = time.perf_counter() - start
    for powers, m in ((true, sky), (found, filled)):
        cl_of_map = hp.anafast(m, lmax=100)
        powers.append([cl_of_map[a:b].mean() for a, b in pairwise(edges)])
    if i < 2:
        print(f"map {i}: {seconds:.2f} s")

# %%
# Are the filled maps' spectra right? The mean difference over the maps, with its standard error, in percent
# of the true power:

true, found = np.array(true), np.array(found)
percent = 100 * (found - true) / true.mean(0)
mean, error = percent.mean(0), percent.std(0, ddof=1) / np.sqrt(len(percent))
for low, high, m, e in zip(edges[:-1], edges[1:], mean, error, strict=True):
    print(f"ell {low:2d} to {high - 1:3d}: {m:+.2f} ± {e:.2f} %")
ax = new_axes(6.5, 3)
ax.errorbar([(a + b - 1) / 2 for a, b in pairwise(edges)], mean, error, fmt="o", color="#0072b2")
ax.axhline(0, color="#222222", lw=1)
ax.set(xlabel="multipole", ylabel="filled less true C_ell [%]")

# %%
# Realization i depends on ``(seed, i)`` alone, so that each task of an array job makes its own, and together
# they are what one process would have made:

three = inpaint_map(sky, plan=plan, sky_model=sky_model, seed=0, n_realizations=3)
last = inpaint_map(sky, plan=plan, sky_model=sky_model, seed=0, n_realizations=1, draws=Draws(first=2))
print("the third realization, made alone, is the same:", np.array_equal(three[2], last[0]))

# %%
# On the command line: ``cmbinpaint inpaint map.fits --mask mask.fits -o r.fits --realizations 100 --seed 1``.
# Files that exist already are skipped, so that the same command completes an interrupted job.
