"""
E and B of a masked sky: zeroed, apodized, filled
=================================================

E and B are not local: a mask mixes E into B, and B is a hundred times weaker. Three ways to get maps and spectra of B
from a sky with holes.
"""

import healpy as hp
import numpy as np

from cmbinpaint import compare_spectra, inpaint_map
from cmbinpaint.plots import draw_polarization, draw_spectra
from cmbinpaint.sims import fiducial_spectra, simulate_sky
from cmbinpaint.spectra import eb_maps

nside, lmax = 64, 48
noise = 0.036  # µK a pixel: 2 µK arcmin
cl = fiducial_spectra(3 * nside - 1)[1:3]  # EE, BB
known = {"cl": cl, "fwhm": np.radians(2.75), "noise_std": noise}
truth = simulate_sky(**known, nside=nside, pixwin=True, seed=2)  # Q, U
latitude = np.abs(hp.pix2ang(nside, np.arange(12 * nside**2), lonlat=True)[1])
mask = latitude > 12
filled = inpaint_map(truth, mask, unit="uK", seed=1, **known)

# %%
# Zeros in the holes: their edge is B. A soft edge (a taper of 10 degrees) is less of one at small scales; at the large
# ones shown here it only costs sky. The filled sky has no edge. All to ell = 48, each row on the scale of the truth.

soft = np.clip((latitude - 12) / 10, 0, 1)
soft -= np.sin(2 * np.pi * soft) / (2 * np.pi)
skies = {"zeros": truth * mask, "apodized": truth * soft, "filled": filled, "truth": truth}
maps = {title: eb_maps(sky, lmax) for title, sky in skies.items()}
rows = {mode: {title: maps[title][i] for title in skies} for i, mode in enumerate("EB")}
figure = draw_polarization(rows, unit="uK_CMB", outline=mask, pixels=400)

# %%
# How far B is off, over the rms of the true B: in the observed sky, away from the edge.

far = latitude > 25
for title in ("zeros", "apodized", "filled"):
    error = (maps[title][1] - maps["truth"][1])[far].std() / maps["truth"][1][far].std()
    print(f"{title}: B off by {error:.2f} of its rms, at |b| > 25 degrees")

# %%
# Spectra. A decoupled spectrum (MASTER) takes what E leaks into B out on the mean; its scatter stays, at low ell
# hundreds of times the true B, and a soft edge helps at the higher ones only. The filled sky's B is the truth's but for
# what is in the holes: there it is the model's, of whatever amplitude that has.

compared = {
    name: compare_spectra(filled, target=truth, mask=mask, lmax=lmax, bins=8, apodize=apodize)
    for name, apodize in (("decoupled", None), ("apodized", 10.0))
}
curves = {}
for name in ("EE", "BB"):
    one, other = compared["decoupled"][name], compared["apodized"][name]
    factor = one.bands.centers * (one.bands.centers + 1) / (2 * np.pi)
    values = {
        "truth": one.target,
        "filled": one.filled,
        "decoupled": one.observed,
        "apodized": other.observed,
    }
    curves[name] = {title: factor * value for title, value in values.items()}
figure = draw_spectra(one.bands.centers, curves)
for title, value in curves["BB"].items():
    print(f"{title:>10}: BB over the truth's in bands", np.round(value / curves["BB"]["truth"], 2))
