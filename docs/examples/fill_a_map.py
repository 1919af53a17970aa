"""
Fill a map
==========

A band around the Galaxy and two dozen sources are masked, and nothing is known but the map and the mask. One
call fills it; observed pixels come back bit for bit.
"""

import healpy as hp
import numpy as np

from cmbinpaint import inpaint_map
from cmbinpaint.plots import draw_before_after, draw_sky
from cmbinpaint.sims import fiducial_cl, simulate_sky

nside = 64
npix = 12 * nside**2
truth = simulate_sky(
    fiducial_cl(3 * nside - 1), nside, fwhm=np.radians(2.75), pixwin=True, noise_std=3.0, seed=1
)

# %%
# The mask is 1 where the sky was observed. What the map holds elsewhere is never read, so it may be NaN.

lon, lat = hp.pix2ang(nside, np.arange(npix), lonlat=True)
mask = np.abs(lat) > 10
rng = np.random.default_rng(2)
for center in rng.normal(size=(24, 3)):
    mask[hp.query_disc(nside, center, np.radians(rng.uniform(1, 5)))] = False
sky = np.where(mask, truth, np.nan)
ax = draw_sky(sky, unit="uK_CMB", pixels=500, title=f"observed: {100 * mask.mean():.0f} % of the sky")

# %%
# The default is a constrained realization of a Gaussian sky, exact, with spectrum, beam and noise estimated
# from the map. ``seed`` makes it repeatable.

filled, info = inpaint_map(sky, mask, unit="uK", seed=1, return_info=True)
ax = draw_sky(filled, unit="uK_CMB", pixels=500, title="filled")
print(f"model {info.model}, {info.n_holes} holes, {info.n_filled} pixels filled")
print("observed pixels as they were:", np.array_equal(filled[mask], truth[mask]))

# %%
# The largest source hole close up. Inside, the filled sky is not the true one, which cannot be known; it is
# one of the skies that agree with the data around it.

figure = draw_before_after(sky, filled, 173.8, 40.4, target=truth, side_deg=25, unit="uK_CMB")

# %%
# Its power spectrum is that of a full sky. The numbers are C_ell over the truth's, in three bands.

for low, high in ((2, 10), (11, 40), (41, 100)):
    ratio = hp.anafast(filled, lmax=high)[low:].mean() / hp.anafast(truth, lmax=high)[low:].mean()
    zeros = (
        hp.anafast(np.where(mask, truth, 0), lmax=high)[low:].mean()
        / hp.anafast(truth, lmax=high)[low:].mean()
    )
    print(f"ell {low:3d} to {high:3d}: filled {ratio:.3f}, zeros in the holes {zeros:.3f}")
