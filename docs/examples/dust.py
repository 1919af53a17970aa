"""
Point sources in a map of dust
==============================

A map that is not Gaussian: take its logarithm, fill that, and take the exponential of the result.
"""

import healpy as hp
import numpy as np

from cmbinpaint import inpaint_map
from cmbinpaint.plots import draw_before_after
from cmbinpaint.sims import simulate_sky

# %%
# Something like dust: positive, brighter by decades toward the plane, in MJy/sr. No beam or noise is known.

nside = 64
ell = np.arange(3 * nside)
power = np.where(ell < 2, 0.0, 1.0 / np.maximum(ell, 2) ** 2.6)
lon, lat = hp.pix2ang(nside, np.arange(12 * nside**2), lonlat=True)
truth = np.exp(2 * simulate_sky(power, nside, seed=1) + 1.5 / (0.2 + np.abs(np.sin(np.radians(lat)))))

# %%
# Sixty sources in holes of 2 to 5 pixels.

rng = np.random.default_rng(2)
mask = np.ones(truth.size, bool)
for center in rng.normal(size=(60, 3)):
    mask[hp.query_disc(nside, center, rng.uniform(2, 5) * hp.nside2resol(nside))] = False

# %%
# The fill is that of a Gaussian field, which dust is not and its logarithm nearly is. Filled as it is, the map draws a
# warning that says so.

plain = inpaint_map(truth, mask, unit="MJy/sr", fill="prediction")
filled = np.exp(inpaint_map(np.log(truth), mask, fill="prediction"))
for name, map_ in (("as it is", plain), ("by its logarithm", filled)):
    error = np.abs(map_ / truth - 1)[~mask]
    print(
        f"{name:>16}: error in the holes {100 * np.median(error):.1f} % (median), {(map_[~mask] < 0).sum()} negative"
    )

# %%
# On Planck's map at 857 GHz (nside 128, 320 round holes of 1.5 to 8 pixels; errors over the standard deviation around a
# hole, to 1.3, 2.3, 4.3 and 9 pixels of depth) the exact answer errs by 1.00 1.13 1.09 1.19 on the map and by 0.52
# 0.72 0.90 1.09 on its logarithm, the mean of the neighbors by 0.60 0.79 0.96 1.14 (``benchmarks/dust.py``).

shown = {name: np.log10(map_ / np.median(truth)) for name, map_ in (("truth", truth), ("filled", filled))}
lon, lat = hp.pix2ang(nside, int(np.argmax(np.where(mask, 0.0, truth))), lonlat=True)
figure = draw_before_after(
    np.where(mask, shown["truth"], np.nan), shown["filled"], lon, lat, target=shown["truth"], side_deg=40
)
