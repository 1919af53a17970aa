"""
No lensing in a filled hole
===========================

Lensing changes the sky's statistics from place to place: where the convergence is κ, the mean square gradient
is 1 - 2 κ of what it is elsewhere. A filled hole has the same statistics everywhere, so it says κ = 0.
"""

import healpy as hp
import numpy as np

from cmbinpaint import inpaint_map, plan_inpainting
from cmbinpaint.plots import new_axes
from cmbinpaint.sims import fiducial_cl, simulate_sky

nside = 64
npix = 12 * nside**2
n_skies = 20
fwhm, noise_std, lmax = np.radians(2.7), 3.0, 2 * nside
cl = fiducial_cl(3 * nside - 1)
mask = np.ones(npix, bool)
for center in np.random.default_rng(0).normal(size=(14, 3)):
    mask[hp.query_disc(nside, center, np.radians(10))] = False
plan = plan_inpainting(mask)
print(f"{(~mask).sum()} pixels in holes of 10 degrees radius")

# %%
# The lens is a toy: convergence of ell 2 to 8 with an rms of 0.07, about a hundred times that of the real sky
# at those scales, so that a few small skies show it. The unlensed sky is looked up at displaced places.


def gradient(alm, at_nside, top):
    """Derivatives to the south and to the east, per radian."""
    return hp.alm2map_der1(alm, at_nside, lmax=top)[1:]


def lensed_sky(seed):
    """A lensed observation, and its convergence."""
    rng = np.random.default_rng(seed)
    kappa = hp.map2alm(simulate_sky(np.r_[0, 0, np.ones(7)], nside, lmax=8, seed=rng), lmax=8)
    kappa *= 0.07 / hp.alm2map(kappa, nside).std()
    to_south, to_east = gradient(
        hp.almxfl(kappa, 2 / np.maximum(np.arange(9) * np.arange(1, 10), 1)), nside, 8
    )
    theta, phi = hp.pix2ang(nside, np.arange(npix))
    south = np.array([np.cos(theta) * np.cos(phi), np.cos(theta) * np.sin(phi), -np.sin(theta)])
    east = np.array([-np.sin(phi), np.cos(phi), np.zeros(npix)])
    angle = np.hypot(to_south, to_east)
    shift = (to_south * south + to_east * east) * np.sinc(angle / np.pi)
    places = np.cos(angle) * np.array(hp.pix2vec(nside, np.arange(npix))) + shift
    unlensed = simulate_sky(cl[: lmax + 1], 4 * nside, fwhm=fwhm, lmax=lmax, seed=rng)
    sky = hp.get_interp_val(unlensed, *hp.vec2ang(places.T))
    return sky + noise_std * rng.standard_normal(npix), hp.alm2map(kappa, nside)


# %%
# Each sky is filled with a realization, given the unlensed spectrum. Then its squared gradient, over its
# mean, is fitted with a line in κ: in the observed sky, and at pixels more than 2 px deep in the holes,
# before and after.


def squared_gradient(sky):
    """Of the map as it is, (npix,)."""
    south, east = gradient(hp.map2alm(sky, lmax=lmax), nside, lmax)
    return south**2 + east**2


def slope(kappa, power, where):
    """Least-squares slope of power, over its mean, against kappa."""
    k = kappa[where] - kappa[where].mean()
    return (k * power[where]).sum() / (k * k).sum() / power[where].mean()


deep = plan.depth > 2
slopes = []
for seed in range(n_skies):
    sky, kappa = lensed_sky(seed)
    filled = inpaint_map(sky, plan=plan, cl=cl, fwhm=fwhm, noise_std=noise_std, seed=seed)
    before, after = squared_gradient(sky), squared_gradient(filled)
    slopes.append([slope(kappa, before, mask), slope(kappa, before, deep), slope(kappa, after, deep)])

slopes = np.array(slopes)
mean, error = slopes.mean(0), slopes.std(0, ddof=1) / np.sqrt(n_skies)
names = ("observed sky", "holes, truth", "holes, filled")
for name, m, e in zip(names, mean, error, strict=True):
    print(f"{name:14s} slope {m:+.2f} ± {e:.2f}")

ax = new_axes(5, 2.8)
ax.errorbar(mean, range(3), xerr=error, fmt="o", color="#0072b2")
ax.axvline(-2, color="#222222", lw=1)
ax.axvline(0, color="#222222", lw=1, ls=":")
ax.set(
    yticks=range(3),
    yticklabels=names,
    ylim=(2.5, -0.5),
    xlabel="response of the squared gradient to convergence",
)

# %%
# In the holes most of the response is lost; what is left comes from the edges. A lensing reconstruction
# from a filled map is biased low there: mask the holes in the reconstructed map, use the mean field of
# simulations that are filled in the same way, or an estimator that weights by the inverse covariance. Power
# spectra are another matter: given the lensed spectrum, a fill has the right one.
