"""How far the bandpowers of a sky seen in part scatter, once the mask's mode coupling is undone.

Inputs: full-sky spectra, noise in; weights. Outputs: standard deviations of `master`'s bandpowers.

A pseudo-spectrum has the covariance `(Ĉ_l^XX Ĉ_l'^YY + Ĉ_l^XY Ĉ_l'^XY) Ξ_ll'[w_X w_Y]`, Ξ the coupling of the squared
weights over 2 l' + 1 and Ĉ the spectrum *as it is seen through the weights*, over their mean square: where a
beam has left little, what a sharp mask mixes into high multipoles is more than that, and scatters (Efstathiou 2004;
Nicola et al. 2021, arXiv 2010.09717, the improved narrow-kernel approximation). Undoing the coupling then spreads it.
"""

import numpy as np

from cmbinpaint._types import FloatArray
from cmbinpaint.spectra.bandpowers import Bandpowers
from cmbinpaint.spectra.mode_coupling import coupling_matrix, decoupled_covariance
from cmbinpaint.sphere.fields import Fields

__all__ = ["decoupled_std"]


def decoupled_std(spectra: FloatArray, weights: FloatArray, bands: Bandpowers, lmax: int) -> FloatArray:
    """Return the standard deviation of `master(sky, weights, bands, lmax)` for a Gaussian sky.

    Parameters
    ----------
    spectra
        (rows, lmax+1) of the full sky as the map has it, beam and noise in, in `anafast`'s order.
    weights
        (npix,) of T, or (k, npix) of each Stokes parameter.
    bands, lmax
        As in `master`.

    Returns
    -------
    std
        (rows, n). What E and B of a cut sky share is not in it.
    """
    w = np.atleast_2d(np.asarray(weights, dtype=np.float64))
    fields = Fields.of(len(w))
    row, mixing = dict(zip(fields.spectra, spectra, strict=True)), _mixing(w, fields, lmax)
    seen = {name: mixing[name] @ row[name] for name in fields.spectra if name not in ("EE", "BB")}
    if fields is not Fields.T:
        stays, mixes = mixing["EE"]
        seen |= {one: stays @ row[one] + mixes @ row[other] for one, other in (("EE", "BB"), ("BB", "EE"))}
    pairs = dict(zip(fields.spectra, fields.pairs, strict=True))
    by_pair = {pair: seen[name] / np.mean(w[pair[0]] * w[pair[1]]) for name, pair in pairs.items()}
    covariance: dict[str, FloatArray] = {}
    for name, (i, j) in pairs.items():
        kernel = coupling_matrix(w[i] * w[j], lmax, spins=(0, 0) if "T" in name else (2, 2))
        kernel = (kernel if "T" in name else kernel[0]) / (2 * np.arange(lmax + 1) + 1)
        one, other, cross = by_pair[i, i], by_pair[j, j], by_pair[i, j]
        powers = (np.outer(one, other) + np.outer(other, one)) / 2 + np.outer(cross, cross)
        covariance[name] = kernel * powers
    found: dict[str, FloatArray] = {}
    for together in (("TT",), ("EE", "BB"), ("TE",), ("EB",), ("TB",)):
        if together[0] in covariance:
            rows = np.stack([covariance[name] for name in together])
            found |= dict(zip(together, decoupled_covariance(rows, mixing[together[0]], bands), strict=True))
    return np.sqrt([np.diag(found[name]) for name in fields.spectra])


def _mixing(weights: FloatArray, fields: Fields, lmax: int) -> dict[str, FloatArray]:
    """The coupling of each spectrum; of EE (and BB) to EE and to BB."""
    found: dict[str, FloatArray] = {}
    if fields is not Fields.QU:
        found["TT"] = coupling_matrix(weights[0], lmax)
    if fields is not Fields.T:
        found["EE"] = coupling_matrix(weights[-1], lmax, spins=(2, 2))
        found["EB"] = found["EE"][0] - found["EE"][1]
    if fields is Fields.TQU:
        found["TE"] = found["TB"] = coupling_matrix(weights[0], lmax, spins=(0, 2), other=weights[-1])
    return found
