"""
Your own mask
=============

What counts as a hole, and what to do with a mask that is not just ones and zeros.
"""

import healpy as hp
import numpy as np

from cmbinpaint import inpaint_map, plan_inpainting
from cmbinpaint.errors import CmbInpaintError
from cmbinpaint.plots import draw_patch
from cmbinpaint.sims import fiducial_cl, simulate_sky

nside = 32
npix = 12 * nside**2
cl = fiducial_cl(3 * nside - 1)
sky = simulate_sky(cl, nside, fwhm=np.radians(5.5), pixwin=True, noise_std=3.0, seed=3)

# %%
# Holes in the map
# ----------------
#
# UNSEEN, NaN and the masked entries of a masked array are holes, without any mask.

holed = sky.copy()
holed[hp.query_disc(nside, hp.ang2vec(0, 0, lonlat=True), np.radians(8))] = hp.UNSEEN
holed[hp.query_disc(nside, hp.ang2vec(90, 40, lonlat=True), np.radians(5))] = np.nan
filled, info = inpaint_map(holed, seed=1, return_info=True)
print(f"{info.n_holes} holes, {info.n_filled} pixels filled, fsky {info.fsky:.3f}")

# %%
# A mask
# ------
#
# 1 or True is observed, as Planck's and NaMaster's masks have it. Look at what a plan says before filling:
# a mask in the other sense has the other sky fraction.

latitude = hp.pix2ang(nside, np.arange(npix), lonlat=True)[1]
mask = np.abs(latitude) > 12
mask[hp.query_disc(nside, hp.ang2vec(120, 45, lonlat=True), np.radians(4))] = False
plan = plan_inpainting(mask)
print(
    f"fsky {plan.fsky:.3f}, {plan.n_holes} holes, the deepest pixel {plan.depth.max():.1f} px from the data"
)

# %%
# An apodized mask
# ----------------
#
# Apodization is for spectra of cut skies. For filling, a pixel is observed or not, so a mask with values
# between needs a threshold, and is refused without one.

apodized = hp.smoothing(mask.astype(float), fwhm=np.radians(6)).clip(0, 1)
try:
    plan_inpainting(apodized)
except CmbInpaintError as error:
    print(error)
print(f"fsky at a threshold of 0.9: {plan_inpainting(apodized, mask_threshold=0.9).fsky:.3f}")

# %%
# Beside the holes
# ----------------
#
# ``guard=n`` does not trust n rings of pixels around the holes: they are returned as they were, but are no
# data. Wings of bright sources want it, for what stands at the edge goes into the fill: here 50 µK in the
# pixels around one hole.

source = hp.query_disc(nside, hp.ang2vec(120, 45, lonlat=True), np.radians(6.0))
rim = source[mask[source]]
dirty = sky.copy()
dirty[rim] += 50.0
known = {"cl": cl, "fwhm": np.radians(5.5), "noise_std": 3.0, "fill": "prediction"}
hole = source[~mask[source]]
for guard in (0, 1, 2):
    shift = inpaint_map(dirty, mask, guard=guard, **known) - inpaint_map(sky, mask, guard=guard, **known)
    print(f"guard={guard}: the wings shift the hole by {shift[hole].mean():+.0f} µK on average")

# %%
# ``exclude`` leaves pixels alone that are neither to be used nor to be filled: a Galaxy that a later
# analysis masks anyway, or the part of the sky that an experiment never saw.

galaxy = np.abs(latitude) < 12
filled = inpaint_map(sky, mask | galaxy, exclude=galaxy, seed=1, **{**known, "fill": "realization"})
print("excluded pixels as they were:", np.array_equal(filled[galaxy], sky[galaxy]))
ax = draw_patch(
    filled, 120, 45, side_deg=40, unit="uK_CMB", outline=mask, title="filled, the hole's rim in black"
)
