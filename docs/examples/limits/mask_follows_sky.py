"""
A mask correlated with the sky
==============================

Holes where the sky is hottest, and the same holes on another sky. Filling assumes that mask and sky are
independent; where they are not, what was cut out cannot be predicted from the rest, and the filled map lacks
it.
"""

from itertools import pairwise

import healpy as hp
import numpy as np

from cmbinpaint import inpaint_map
from cmbinpaint.plots import draw_patch, new_axes
from cmbinpaint.sims import fiducial_cl, simulate_sky

nside = 32
n_skies = 20
known = {"cl": fiducial_cl(3 * nside - 1), "fwhm": np.radians(5.5), "noise_std": 3.0}


def cut_hot_spots(sky, n=30, radius_deg=4.0):
    """Discs around the hottest pixels, until there are n."""
    valid = np.ones(sky.size, bool)
    for pixel in np.argsort(-sky):
        if valid[pixel]:
            valid[hp.query_disc(nside, hp.pix2vec(nside, pixel), np.radians(radius_deg))] = False
            n -= 1
        if n == 0:
            return valid
    raise ValueError("the sky has fewer hot spots than that")


skies = [
    simulate_sky(known["cl"], nside, fwhm=known["fwhm"], pixwin=True, noise_std=3.0, seed=seed)
    for seed in range(n_skies)
]
masks = [cut_hot_spots(sky) for sky in skies]
print(f"each mask leaves {masks[0].mean():.3f} of the sky")
hottest = hp.pix2ang(nside, int(np.argmax(skies[0])), lonlat=True)
ax = draw_patch(
    skies[0], *hottest, side_deg=40, outline=masks[0], unit="uK_CMB", title="the hottest spot and its hole"
)

# %%
# Every sky is filled twice: with its own mask, and with the mask of the next sky, which is independent of it.
# Realizations, with the true spectrum, beam and noise given.

edges = np.array([2, 5, 10, 20, 40, 65])


def bandpowers(sky):
    """Mean C_ell of each band."""
    cl = hp.anafast(sky, lmax=64)
    weights = 2 * np.arange(65) + 1
    return np.array([np.average(cl[a:b], weights=weights[a:b]) for a, b in pairwise(edges)])


true = np.array([bandpowers(sky) for sky in skies])
percent = {}
for name, shift in (("its own hot spots", 0), ("another sky's", 1)):
    filled = [inpaint_map(sky, masks[(i + shift) % n_skies], seed=i, **known) for i, sky in enumerate(skies)]
    bias = 100 * (np.array([bandpowers(sky) for sky in filled]) - true) / true.mean(0)
    percent[name] = bias.mean(0), bias.std(0, ddof=1) / np.sqrt(n_skies)

ax = new_axes(6.5, 3.4)
for (name, (mean, error)), color in zip(percent.items(), ("#d55e00", "#0072b2"), strict=True):
    ax.errorbar((edges[:-1] + edges[1:] - 1) / 2, mean, error, fmt="o", color=color, label=f"holes at {name}")
    for low, high, m, e in zip(edges, edges[1:] - 1, mean, error, strict=False):
        print(f"{name:18s} ell {low:2d} to {high:2d}: {m:+.2f} ± {e:.2f} %")
ax.axhline(0, color="#222222", lw=1)
ax.set(xlabel="multipole", ylabel="filled less true C_ell [%]")
ax.legend()

# %%
# Less than 3 % of the sky is cut, and the spectrum is off by more than 1 %. Sources and clusters are not hot
# spots of the CMB, but a mask of what a threshold on the map found is slightly correlated with it, and a mask
# of galaxy clusters with its lensing and its integrated Sachs-Wolfe effect. Make masks from other data than
# the map, and test the whole chain on simulations that have the correlation.
