"""
Polarization in ten lines
=========================

T, Q and U behind masks of their own, filled together: one call, and every later step works on a full sky.
"""

import healpy as hp
import numpy as np

from cmbinpaint import inpaint_map
from cmbinpaint.plots import draw_polarization, draw_polarized_patch
from cmbinpaint.sims import fiducial_spectra, simulate_sky

nside = 64
known = {"cl": fiducial_spectra(3 * nside - 1), "fwhm": np.radians(2.75), "noise_std": [3.0, 0.3, 0.3]}
truth = simulate_sky(**known, nside=nside, pixwin=True, seed=1)  # T, Q, U
latitude = np.abs(hp.pix2ang(nside, np.arange(12 * nside**2), lonlat=True)[1])
masks = np.array([latitude > 8, latitude > 12])  # of T, and of polarization
filled, info = inpaint_map(truth, masks, unit="uK", seed=1, return_info=True, **known)
print(
    f"{info.steps[0]} steps; what is missing has less than {100 * info.remaining_power:.1g} % of the E and B power"
)

# %%
# Observed pixels are as they were. The filled sky is another one than the true one, which cannot be known, and agrees
# with all the data around the holes, of T, Q and U together.

seen = np.array([masks[0], masks[1], masks[1]])
print("observed values as they were:", np.array_equal(filled[seen], truth[seen]))
rows = {
    name: {"observed": np.where(seen[i], truth[i], np.nan), "filled": filled[i]}
    for i, name in enumerate("TQU")
}
figure = draw_polarization(rows, unit="uK_CMB", pixels=500)

# %%
# A region across the edge of the mask, temperature in color, ticks along the polarization.

ax = draw_polarized_patch(filled, 40, 12, side_deg=30, outline=masks[1], unit="uK_CMB")

# %%
# What is not known of the sky need not be given: without ``cl`` and ``noise_std`` EE, TE and the noise are estimated
# from the map, and B is that of lensing.

estimated = inpaint_map(truth, masks, unit="uK", seed=1)
for name, sky in (("spectra given", filled), ("estimated", estimated)):
    error = [np.std((sky - truth)[i][~seen[i]]) / np.std(truth[i]) for i in range(3)]
    print(f"{name}: rms difference from the truth in the holes over the rms of T, Q, U {np.round(error, 2)}")
