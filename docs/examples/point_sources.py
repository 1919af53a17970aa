"""
Point sources
=============

Many small holes, and what to do about the wings that bright sources leave beside them.
"""

import healpy as hp
import numpy as np

from cmbinpaint import inpaint_map, plan_inpainting
from cmbinpaint.plots import draw_before_after
from cmbinpaint.sims import fiducial_cl, simulate_sky

nside, fwhm = 64, np.radians(2.75)
known = {"cl": fiducial_cl(3 * nside - 1), "fwhm": fwhm, "noise_std": 3.0}
truth, parts = simulate_sky(
    known["cl"], nside, fwhm=fwhm, pixwin=True, noise_std=3.0, seed=3, return_parts=True
)

# %%
# Forty sources of 3000 µK, as wide as the beam, in holes of 1.3 beams radius. 27 µK are left at the edge.

sky, mask = truth.copy(), np.ones(truth.size, bool)
for center in np.random.default_rng(4).normal(size=(40, 3)):
    distance = np.arccos(
        np.clip(center @ hp.pix2vec(nside, np.arange(truth.size)) / np.linalg.norm(center), -1, 1)
    )
    sky += 3000 * np.exp(-4 * np.log(2) * (distance / fwhm) ** 2)
    mask[distance < 1.3 * fwhm] = False
print(f"{100 * (1 - mask.mean()):.1f} % of the sky is in holes")

# %%
# What is in the data beside a hole goes into the fill. With ``guard=n`` the n rings of pixels around holes
# are not used as data; they are returned as they were.

for guard in (0, 1, 2):
    plan = plan_inpainting(mask, guard=guard)
    filled = inpaint_map(sky, plan=plan, fill="prediction", **known)
    error = (filled - parts.signal)[~mask]
    print(f"guard={guard}: mean error in the holes {error.mean():+5.1f} µK, rms {error.std():5.1f} µK")

# %%
# A realization with one ring guarded, before and after, near one of the sources.

filled = inpaint_map(sky, plan=plan_inpainting(mask, guard=1), seed=1, **known)
lon, lat = hp.pix2ang(nside, int(np.argmax(sky)), lonlat=True)
figure = draw_before_after(
    np.where(mask, sky, np.nan), filled, lon, lat, target=truth, side_deg=25, unit="uK_CMB"
)
