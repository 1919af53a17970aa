"""
Realizations and errors
=======================

One sky, one mask, several fills: a realization for anything that is squared or counted, the exact mean for
the best estimate of what is there, and how far off they may be.
"""

import healpy as hp
import numpy as np
from matplotlib.figure import Figure

from cmbinpaint import error_map, inpaint_map, plan_inpainting
from cmbinpaint.plots import draw_patch
from cmbinpaint.sims import fiducial_cl, simulate_sky

nside = 64
npix = 12 * nside**2
cl = fiducial_cl(3 * nside - 1)
known = {"cl": cl, "fwhm": np.radians(2.75), "noise_std": 3.0}
truth, parts = simulate_sky(
    cl, nside, fwhm=known["fwhm"], pixwin=True, noise_std=3.0, seed=5, return_parts=True
)
mask = np.ones(npix, bool)
rng = np.random.default_rng(6)
for center in [hp.ang2vec(30, 20, lonlat=True), *rng.normal(size=(30, 3))]:
    mask[hp.query_disc(nside, center, np.radians(7))] = False
plan = plan_inpainting(mask)

fills = {
    "truth": truth,
    "diffusive": inpaint_map(truth, plan=plan, model="diffusive", fill="prediction", **known),
    "kriging": inpaint_map(truth, plan=plan, model="kriging", fill="prediction", **known),
    "exact mean": inpaint_map(truth, plan=plan, model="gaussian", fill="prediction", **known),
}
fills |= {
    f"realization {i + 1}": sky
    for i, sky in enumerate(
        inpaint_map(truth, plan=plan, model="gaussian", n_realizations=2, seed=1, **known)
    )
}

figure = Figure(figsize=(9, 6.2), layout="constrained")
for ax, (title, sky) in zip(figure.subplots(2, 3).ravel(), fills.items(), strict=True):
    draw_patch(
        sky, 30, 20, side_deg=26, outline=mask, limit=150, colorbar=False, title=title, pixels=200, ax=ax
    )
    ax.set(xlabel="", ylabel="")

# %%
# The exact mean has the least error that is possible on a Gaussian sky, and too little power: what the data
# do not determine is missing from it. A realization has the power of the sky and a larger error by
# construction: its fluctuations are right in size, not in place.

for name, sky in fills.items():
    error = np.std((sky - parts.signal)[~mask])
    power = np.var(sky[~mask]) / np.var(truth[~mask])
    print(f"{name:15s} rms error in the holes {error:5.1f} µK, variance over the true {power:.2f}")

# %%
# How far off the exact mean is does not depend on the data, only on the mask, the sky's spectrum and the
# noise, and `error_map` computes it. The error grows from the hole's edge inwards to the rms of the field
# itself.

_, info = inpaint_map(truth, plan=plan, fill="prediction", return_info=True, **known)
sigma = error_map(plan, info.sky_model, n=30, seed=1)
for low, high in ((0.0, 1.3), (1.3, 2.3), (2.3, 4.3), (4.3, 99.0)):
    ring = (plan.depth > low) & (plan.depth <= high)
    error = np.sqrt(np.mean((fills["exact mean"] - parts.signal)[ring] ** 2))
    expected = np.sqrt(np.mean(sigma[ring] ** 2))
    print(f"depth {low:3.1f} to {high:4.1f} px: expected {expected:5.1f} µK, found {error:5.1f} µK")
