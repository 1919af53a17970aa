"""
r from filled maps
==================

The tensor-to-scalar ratio from the B modes of a filled map: fill, fit, and fill again under what was fitted.
"""

import healpy as hp
import numpy as np

from cmbinpaint import inpaint_map, plan_inpainting
from cmbinpaint.plots import new_axes
from cmbinpaint.sims import SkyModel, fiducial_spectra, simulate_sky
from cmbinpaint.spectra import anafast

nside, true_r = 32, 0.01
lmax, fwhm, noise_std = 48, np.radians(5.5), 0.02  # µK a pixel: 2 µK arcmin
latitude = np.abs(hp.pix2ang(nside, np.arange(12 * nside**2), lonlat=True)[1])
mask = latitude > 15
sky = simulate_sky(
    fiducial_spectra(3 * nside - 1, r=true_r)[1:3], nside, fwhm=fwhm, noise_std=noise_std, pixwin=True, seed=1
)

# %%
# A fill holds the B of its model, so that it is no evidence for it: a map filled under the wrong r gives a value
# between the true one and that. Filling again under the r that was fitted until it stays removes this. With the
# same seed the fitted r does not jump from fill to fill.


def bb_in_the_map(r):
    """BB behind beam and pixel window."""
    model = SkyModel.from_theory(
        fiducial_spectra(lmax, r=r)[1:3], nside, fwhm=fwhm, noise_std=noise_std, lmax=lmax
    )
    return model.signal_cl[1, 1]


lensing, tensor = bb_in_the_map(0.0), bb_in_the_map(1.0) - bb_in_the_map(0.0)
noise = noise_std**2 * 4 * np.pi / mask.size
ell = np.arange(lmax + 1)
weights = np.where(ell < 2, 0.0, (2 * ell + 1) / (lensing + 0.01 * tensor + noise) ** 2)


def fitted(q_and_u):
    """r of least squares, weighted by the variance of BB."""
    excess = anafast(q_and_u, lmax=lmax)[1] - lensing - noise
    return (weights * tensor) @ excess / ((weights * tensor) @ tensor)


plan, r, steps = plan_inpainting(mask), 0.0, [0.0]
for _ in range(8):
    spectra = fiducial_spectra(3 * nside - 1, r=max(r, 0.0))[1:3]
    filled = inpaint_map(
        sky, plan=plan, cl=spectra, fwhm=fwhm, noise_std=noise_std, unit="uK", n_realizations=4, seed=2
    )
    r = float(np.mean([fitted(one) for one in filled]))
    steps.append(r)
print("r after each fill:", ", ".join(f"{value:.4f}" for value in steps[1:]))
print(f"from the full sky: {fitted(sky):.4f}; true: {true_r}")

# %%

ax = new_axes(5, 3.2)
ax.plot(steps, "o-")
ax.axhline(fitted(sky), color="k", lw=1, label="from the full sky")
ax.axhline(true_r, color="k", ls="--", lw=1, label="true")
ax.set(xlabel="fills", ylabel="fitted r", ylim=(0, None))
ax.legend()
