"""Power spectra of a sky seen in part: pseudo-spectra, mode coupling, MASTER.

Inputs: RING maps, masks or weights. Outputs: pseudo-spectra, coupling matrices, decoupled bandpowers, all as
they are in the map: no beam, window or noise is removed.
"""

import ducc0
import numpy as np
import numpy.typing as npt

from cmbinpaint._types import AnyArray, FloatArray
from cmbinpaint.errors import SpectrumError
from cmbinpaint.spectra.bandpowers import Bandpowers
from cmbinpaint.spectra.checks import validate_weights, weighted_sky
from cmbinpaint.spectra.full_sky import power_of
from cmbinpaint.sphere.maps import npix_to_nside
from cmbinpaint.sphere.power import validate_cl

__all__ = ["coupling_matrix", "decouple", "master", "narrowest_band", "pseudo_cl"]

_NODES_AT_ONCE = 2048  # bounds the Legendre table to 16 MiB per 1000 multipoles


def pseudo_cl(sky: AnyArray, weights: npt.ArrayLike, lmax: int | None = None) -> FloatArray:
    """Return the spectrum of sky times weights, nothing corrected: divide by `mean(weights**2)` to compare.

    Nothing is read where the weight is 0. Parameters as for `anafast` and `master`.
    """
    values, w = weighted_sky(sky, weights)
    return power_of(values * w, lmax)


def coupling_matrix(weights: npt.ArrayLike, lmax: int) -> FloatArray:
    """Return the matrix M with `<pseudo-C_ell> = Σ_l' M_ll' C_l'` for a sky seen through weights.

    `M_ll' = (2l'+1)/(4π) Σ_L (2L+1) W_L (l l' L; 0 0 0)²`, with the squared 3j symbols as the integral of
    three Legendre polynomials: `M_ll' = (2l'+1)/2 ∫ ξ(x) P_l(x) P_l'(x) dx`, ξ the weights' correlation
    function, exact by Gauss-Legendre quadrature (1.3 s at lmax 1500 on one core).

    Parameters
    ----------
    weights
        (npix,) bool or float weights, RING.
    lmax
        Highest multipole. The weights' spectrum is used to `2*lmax` or `4*nside`, whichever is less. Against
        transforms of every mode, at nside 16 and a Planck-like mask, `M @ cl` is right to 1e-3 up to ell =
        nside, to 1 % up to 2 nside, and to some percent at 3 nside, where sums over pixels are not exact integrals.

    Returns
    -------
    matrix
        (lmax+1, lmax+1) float64.

    References
    ----------
    Hivon et al. 2002, ApJ 567, 2, equation A31.
    """
    w = validate_weights(weights)
    highest = min(2 * int(lmax), 4 * npix_to_nside(w.size))
    # No iterations: above 2 nside they drive the spectrum of a pixelized edge away (M wrong by tens of %).
    return _coupling_from_spectrum(power_of(w, highest, iterations=0), int(lmax))


def _coupling_from_spectrum(weight_cl: FloatArray, lmax: int) -> FloatArray:
    ell = np.arange(weight_cl.size)
    n_nodes = (2 * lmax + weight_cl.size - 1) // 2 + 1  # exact to degree 2 n - 1
    nodes = np.cos(ducc0.misc.GL_thetas(n_nodes))
    correlation = np.polynomial.legendre.legval(nodes, (2 * ell + 1) / (4 * np.pi) * weight_cl)
    factor = ducc0.misc.GL_weights(n_nodes, 1) / (2 * np.pi) * correlation
    matrix = np.zeros((lmax + 1, lmax + 1))
    for start in range(0, n_nodes, _NODES_AT_ONCE):
        here = slice(start, start + _NODES_AT_ONCE)
        legendre = _legendre(nodes[here], lmax)
        matrix += (legendre * factor[here]) @ legendre.T
    return matrix * (np.arange(lmax + 1) + 0.5)


def _legendre(x: FloatArray, lmax: int) -> FloatArray:
    """Return P_ell(x), (lmax+1, n)."""
    table = np.empty((lmax + 1, x.size))
    table[0] = 1.0
    if lmax > 0:
        table[1] = x
    for ell in range(1, lmax):
        table[ell + 1] = ((2 * ell + 1) * x * table[ell] - ell * table[ell - 1]) / (ell + 1)
    return table


def narrowest_band(weights: npt.ArrayLike) -> int:
    """Return the least width of a band that a cut sky resolves: 1/fsky, with fsky = mean(w)²/mean(w²)."""
    w = np.asarray(weights, dtype=np.float64)
    return int(np.ceil(np.mean(w**2) / np.mean(w) ** 2 - 1e-9))


def decouple(
    pseudo: FloatArray, coupling: FloatArray, bands: Bandpowers, *, shape: FloatArray | None = None
) -> FloatArray:
    """Return the bandpowers whose sky, seen through the weights, has this pseudo-spectrum.

    Within a band C_ell is taken to follow `shape`. Multipoles below and above the bands are solved for too,
    and dropped, so that their power does not end up inside.

    Parameters
    ----------
    pseudo
        (lmax+1,) from `pseudo_cl`.
    coupling
        (lmax+1, lmax+1) from `coupling_matrix`.
    bands
        At most to lmax.
    shape
        (lmax+1,) positive, any normalization; None: flat in D_ell.

    Returns
    -------
    bandpowers
        (n,) float64; on a full sky equal to `bands.bin(pseudo)`. They may be negative: noise scatters.
    """
    lmax = len(pseudo) - 1
    if coupling.shape != (lmax + 1, lmax + 1):
        raise SpectrumError(
            f"the coupling matrix has shape {coupling.shape}; ({lmax + 1}, {lmax + 1}) was expected"
        )
    if bands.lmax > lmax:
        raise SpectrumError(f"the bands reach ell = {bands.lmax}, the spectrum ell = {lmax}")
    if shape is None:
        ell = np.arange(lmax + 1)
        shape = 1 / np.maximum(ell * (ell + 1.0), 2.0)
    else:
        shape = validate_cl(shape, "shape", lmax=lmax)[: lmax + 1]
        if not np.all(shape[bands.edges[0] : bands.edges[-1]] > 0):
            raise SpectrumError(
                "shape is 0 within the bands; it is the shape of C_ell there and must be positive"
            )
    every, first = _bands_around(bands, lmax)
    # Columns: each band's shape through the mask; rows: averaged over bands as the pseudo-spectrum is.
    columns = np.add.reduceat(coupling * shape, every.edges[:-1], axis=1)
    amplitudes = np.linalg.solve(every.bin(columns.T).T, every.bin(pseudo))
    return (amplitudes * every.bin(shape))[first : first + bands.n]


def _bands_around(bands: Bandpowers, lmax: int) -> tuple[Bandpowers, int]:
    """Return the bands with others below and above them, from 0 to lmax, and the index of the first."""
    low, high = int(bands.edges[0]), int(bands.edges[-1])
    below = list(range(0, low, int(bands.widths[0])))
    if len(below) > 1 and low - below[-1] < bands.widths[0]:
        below.pop()  # what is left over joins the band before: none is narrower than the user's
    above = list(range(high, lmax + 1, int(bands.widths[-1])))[1:]
    if above and lmax + 1 - above[-1] < bands.widths[-1]:
        above.pop()
    last = [lmax + 1] if lmax + 1 > high else []
    return Bandpowers(np.array([*below, *bands.edges, *above, *last])), len(below)


def master(
    sky: AnyArray,
    weights: npt.ArrayLike,
    bands: Bandpowers,
    lmax: int | None = None,
    *,
    shape: FloatArray | None = None,
    coupling: FloatArray | None = None,
) -> FloatArray:
    """Return the bandpowers of a sky seen in part, the mask's mode coupling undone (MASTER).

    The map's weighted mean is subtracted first. Beam, pixel window and noise stay in.

    Parameters
    ----------
    sky
        (npix,) RING; nothing is read where the weight is 0.
    weights
        (npix,) bool or float, RING; 0 in holes.
    bands
        None narrower than 1/fsky, which is what a cut sky resolves.
    lmax
        Multipoles taken into account; None: `3*nside - 1`. Choose some way above the bands.
    shape
        The shape of C_ell within a band, see `decouple`.
    coupling
        `coupling_matrix(weights, lmax)` if known already: it depends on the weights alone.

    Returns
    -------
    bandpowers
        (n,) float64, comparable to `bands.bin(cl)` of the full sky.

    Raises
    ------
    SpectrumError
        If a band is narrower than 1/fsky or reaches beyond lmax.

    References
    ----------
    Hivon et al. 2002, ApJ 567, 2.
    """
    values, w = weighted_sky(sky, weights)
    lmax = 3 * npix_to_nside(w.size) - 1 if lmax is None else int(lmax)
    least = narrowest_band(w)
    if bands.widths.min() < least:
        i = int(np.argmin(bands.widths))
        raise SpectrumError(
            f"the band from ell = {bands.edges[i]} to {bands.edges[i + 1] - 1} is {bands.widths[i]} wide; "
            f"at this sky fraction the least is 1/fsky, {least}: use log_bands(..., min_width={least})"
        )
    values = np.where(w != 0, values - np.average(values, weights=w), 0.0)
    if coupling is None:
        coupling = coupling_matrix(w, lmax)
    return decouple(pseudo_cl(values, w, lmax), coupling, bands, shape=shape)
