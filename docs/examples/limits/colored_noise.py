"""
Colored noise modeled as white
==============================

Noise that is correlated between pixels: modeled as white noise of the same rms, estimated with the rest, and
given with its spectrum.
"""

from itertools import pairwise

import healpy as hp
import numpy as np

from cmbinpaint import inpaint_map, plan_inpainting
from cmbinpaint.plots import new_axes
from cmbinpaint.sims import fiducial_cl, simulate_sky

nside = 32
npix = 12 * nside**2
n_skies = 25
lmax = 3 * nside - 1
fwhm, white_std = np.radians(5.5), 30.0
cl = fiducial_cl(lmax)
mask = np.abs(hp.pix2ang(nside, np.arange(npix), lonlat=True)[1]) > 12
plan = plan_inpainting(mask)

# %%
# White noise of 30 µK a pixel, its power times 1 + (40 / ell)^1.5: above the sky's own power from ell = 30
# on.

ell = np.arange(lmax + 1)
level = white_std**2 * 4 * np.pi / npix
colored = np.where(ell < 2, 0.0, level * (40 / np.maximum(ell, 1)) ** 1.5)
rms = np.sqrt(white_std**2 + np.sum((2 * ell + 1) * colored) / (4 * np.pi))
print(f"noise of {rms:.1f} µK rms, {white_std:.0f} of it white")


def observe(seed):
    """Sky, beam, colored and white noise."""
    sky = simulate_sky(cl, nside, fwhm=fwhm, pixwin=True, noise_std=white_std, seed=seed)
    return sky + simulate_sky(colored, nside, seed=10_000 + seed)


# %%
# Three ways to fill, all exact: the sky's spectrum and *white* noise of that rms given; nothing given, so
# that the map's total power is estimated; and the true noise given. For noise with the same spectrum
# everywhere that is possible.

ways = {
    "modeled as white": {"cl": cl, "fwhm": fwhm, "noise_std": rms},
    "estimated": {},
    "given": {"cl": cl, "fwhm": fwhm, "noise_std": white_std, "colored_noise_cl": colored},
}
edges = np.array([2, 10, 20, 40, 65])


def bandpowers(sky):
    """Mean C_ell of each band."""
    power = hp.anafast(sky, lmax=64)
    weights = 2 * np.arange(65) + 1
    return np.array([np.average(power[a:b], weights=weights[a:b]) for a, b in pairwise(edges)])


skies = [observe(seed) for seed in range(n_skies)]
true = np.array([bandpowers(sky) for sky in skies])
ax = new_axes(6.5, 3.4)
middles = (edges[:-1] + edges[1:] - 1) / 2
for (name, options), color, aside in zip(
    ways.items(), ("#d55e00", "#009e73", "#0072b2"), (-1, 0, 1), strict=True
):
    filled = [inpaint_map(sky, plan=plan, seed=i, **options) for i, sky in enumerate(skies)]
    bias = 100 * (np.array([bandpowers(sky) for sky in filled]) - true) / true.mean(0)
    mean, error = bias.mean(0), bias.std(0, ddof=1) / np.sqrt(n_skies)
    ax.errorbar(middles + 0.5 * aside, mean, error, fmt="o", color=color, label=name)
    for low, high, m, e in zip(edges, edges[1:] - 1, mean, error, strict=False):
        print(f"{name:16s} ell {low:2d} to {high:2d}: {m:+.1f} ± {e:.1f} %")
ax.axhline(0, color="#222222", lw=1)
ax.set(xlabel="multipole", ylabel="filled less true C_ell [%]")
ax.legend()

# %%
# Modeled as white, the noise that is drawn in the holes lacks its power at large scales, and the noise in the
# data is taken for sky or discarded. An estimate from the map has the total power right on average. Noise
# that varies with place or has a direction (stripes) is described by none of the three: give your own
# simulations, ``Draws(fluctuations=...)``, and measure what remains on them.
