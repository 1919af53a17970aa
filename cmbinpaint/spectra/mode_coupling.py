"""Power spectra of a sky seen in part: pseudo-spectra, mode coupling, MASTER.

Inputs: RING maps of T, of Q, U or of T, Q, U, masks or weights. Outputs: pseudo-spectra, coupling matrices, decoupled
bandpowers, all as they are in the map: no beam, window or noise is removed. E and B are decoupled together, which takes
the mean of what the mask mixes out of B, but not its scatter.
"""

import ducc0
import numpy as np
import numpy.typing as npt

from cmbinpaint._types import AnyArray, FloatArray
from cmbinpaint.errors import SpectrumError
from cmbinpaint.spectra.bandpowers import Bandpowers
from cmbinpaint.spectra.checks import validate_weights, weighted_sky
from cmbinpaint.spectra.full_sky import power_of
from cmbinpaint.sphere.fields import Fields
from cmbinpaint.sphere.maps import npix_to_nside
from cmbinpaint.sphere.power import validate_cl

__all__ = ["coupling_matrix", "decouple", "master", "narrowest_band", "pseudo_cl"]

_NODES_AT_ONCE = 2048  # bounds the Legendre table to 16 MiB per 1000 multipoles


def pseudo_cl(sky: AnyArray, weights: npt.ArrayLike, lmax: int | None = None) -> FloatArray:
    """Return the spectrum of sky times weights, nothing corrected: divide by `mean(weights**2)` to compare.

    Nothing is read where the weight is 0. Parameters as for `anafast` and `master`; of Q, U and of T, Q, U a row for
    each spectrum.
    """
    values, w = weighted_sky(sky, weights)
    return power_of(values * w, lmax)


def coupling_matrix(
    weights: npt.ArrayLike, lmax: int, *, spins: tuple[int, int] = (0, 0), other: npt.ArrayLike | None = None
) -> FloatArray:
    """Return the matrix M with `<pseudo-C_ell> = Σ_l' M_ll' C_l'` for a sky seen through weights.

    Of TT `M_ll' = (2l'+1)/(4π) Σ_L (2L+1) W_L (l l' L; 0 0 0)²`, with the squared 3j symbols as the integral of
    three Legendre polynomials: `M_ll' = (2l'+1)/2 ∫ ξ(x) P_l(x) P_l'(x) dx`, ξ the weights' correlation
    function, exact by Gauss-Legendre quadrature (1.3 s at lmax 1500 on one core). Of polarization Wigner's d^l_20 (TE,
    TB), d^l_22 (EE + BB) and d^l_2-2 (EE - BB, EB) take the place of P_l.

    Parameters
    ----------
    weights
        (npix,) bool or float weights, RING.
    lmax
        Highest multipole. The weights' spectrum is used to `2*lmax` or `4*nside`, whichever is less. Against
        transforms of every mode, at nside 16 and a Planck-like mask, `M @ cl` is right to 1e-3 up to ell =
        nside, to 1 % up to 2 nside, and to some percent at 3 nside, where sums over pixels are not exact integrals.
    spins
        (0, 0) for TT; (0, 2) for TE and TB; (2, 2) for EE and BB, EB.
    other
        The weights of the second map, if they are others.

    Returns
    -------
    matrix
        (lmax+1, lmax+1) float64. Of spins (2, 2) two, from EE to EE (and BB to BB), and from BB to EE (and back); their
        difference is that of EB.

    References
    ----------
    Hivon et al. 2002, ApJ 567, 2, equation A31; Kogut et al. 2003, ApJS 148, 161, appendix.
    """
    w = validate_weights(weights)
    highest = min(2 * int(lmax), 4 * npix_to_nside(w.size))
    # No iterations: above 2 nside they drive the spectrum of a pixelized edge away (M wrong by tens of %).
    if other is None:
        weight_cl = power_of(w, highest, iterations=0)
    else:
        sums = [power_of(w + sign * validate_weights(other), highest, iterations=0) for sign in (1, -1)]
        weight_cl = (sums[0] - sums[1]) / 4
    if spins not in _WIGNER:
        raise SpectrumError(f"spins are (0, 0), (0, 2) or (2, 2); got {spins!r}")
    found = [_coupling_from_spectrum(weight_cl, int(lmax), mn) for mn in _WIGNER[spins]]
    return found[0] if len(found) == 1 else np.stack([found[0] + found[1], found[0] - found[1]]) / 2


# Indices of Wigner's functions by the spins of the two maps.
_WIGNER = {(0, 0): ((0, 0),), (0, 2): ((2, 0),), (2, 2): ((2, 2), (2, -2))}


def _coupling_from_spectrum(weight_cl: FloatArray, lmax: int, mn: tuple[int, int] = (0, 0)) -> FloatArray:
    ell = np.arange(weight_cl.size)
    n_nodes = (2 * lmax + weight_cl.size - 1) // 2 + 1  # exact to degree 2 n - 1
    nodes = np.cos(ducc0.misc.GL_thetas(n_nodes))
    correlation = np.polynomial.legendre.legval(nodes, (2 * ell + 1) / (4 * np.pi) * weight_cl)
    factor = ducc0.misc.GL_weights(n_nodes, 1) / (2 * np.pi) * correlation
    matrix = np.zeros((lmax + 1, lmax + 1))
    for start in range(0, n_nodes, _NODES_AT_ONCE):
        here = slice(start, start + _NODES_AT_ONCE)
        table = _wigner(nodes[here], lmax, *mn)
        matrix += (table * factor[here]) @ table.T
    return matrix * (np.arange(lmax + 1) + 0.5)


def _wigner(x: FloatArray, lmax: int, m: int, n: int) -> FloatArray:
    """Return Wigner's d^ell_mn(arccos x), (lmax+1, x.size): m, n = 0, 0 (Legendre's); 2, 0; 2, 2; 2, -2."""
    first = max(abs(m), abs(n))
    table = np.zeros((max(lmax, first) + 1, x.size))
    table[first] = (
        {0: np.sqrt(3 / 8) * (1 - x**2), 2: (1 + x) ** 2 / 4, -2: (1 - x) ** 2 / 4}[n] if m else 1.0
    )
    for ell in range(first, lmax):
        up = np.sqrt(((ell + 1) ** 2 - m**2) * ((ell + 1) ** 2 - n**2)) / (ell + 1)
        shift = m * n / (ell * (ell + 1)) if m * n else 0.0
        table[ell + 1] = (2 * ell + 1) * (x - shift) * table[ell]
        if ell > first:
            table[ell + 1] -= np.sqrt((ell**2 - m**2) * (ell**2 - n**2)) / ell * table[ell - 1]
        table[ell + 1] /= up
    return table[: lmax + 1]


def narrowest_band(weights: npt.ArrayLike) -> int:
    """Return the least width of a band that a cut sky resolves: 1/fsky, with fsky = mean(w)²/mean(w²)."""
    w = np.atleast_2d(np.asarray(weights, dtype=np.float64))
    return int(np.ceil(np.max(np.mean(w**2, axis=1) / np.mean(w, axis=1) ** 2) - 1e-9))


def decouple(
    pseudo: FloatArray, coupling: FloatArray, bands: Bandpowers, *, shape: FloatArray | None = None
) -> FloatArray:
    """Return the bandpowers whose sky, seen through the weights, has this pseudo-spectrum.

    Within a band C_ell is taken to follow `shape`. Multipoles below and above the bands are solved for too,
    and dropped, so that their power does not end up inside.

    Parameters
    ----------
    pseudo
        (lmax+1,) from `pseudo_cl`; or (2, lmax+1) EE, BB, which are decoupled together.
    coupling
        (lmax+1, lmax+1) from `coupling_matrix`; of EE and BB (2, lmax+1, lmax+1).
    bands
        At most to lmax; of polarization from ell = 2.
    shape
        (lmax+1,) positive, any normalization; None: flat in D_ell. Of EE and BB one for both, or (2, lmax+1).

    Returns
    -------
    bandpowers
        (n,) or (2, n) float64; on a full sky equal to `bands.bin(pseudo)`. They may be negative: noise scatters.
    """
    rows, blocks = np.atleast_2d(pseudo), np.reshape(coupling, (-1, *np.shape(coupling)[-2:]))
    lmax = rows.shape[1] - 1
    if blocks.shape != (len(rows), lmax + 1, lmax + 1):
        raise SpectrumError(
            f"the coupling matrix has shape {coupling.shape}; ({lmax + 1}, {lmax + 1}) was expected"
        )
    if bands.lmax > lmax:
        raise SpectrumError(f"the bands reach ell = {bands.lmax}, the spectrum ell = {lmax}")
    lowest = int(np.argmax(np.diagonal(blocks[0]) > 0))
    if bands.edges[0] < lowest:
        raise SpectrumError(f"the bands begin at ell = {bands.edges[0]}; polarization begins at {lowest}")
    shapes = _shapes(shape, bands, lmax, len(rows))
    every, first = _bands_around(bands, lmax, lowest)
    amplitudes = np.linalg.solve(_system(blocks, shapes, every), every.bin(rows).ravel())
    found = (amplitudes.reshape(len(rows), -1) * every.bin(shapes))[:, first : first + bands.n]
    return np.asarray(found[0] if np.ndim(pseudo) == 1 else found)


def _system(blocks: FloatArray, shapes: FloatArray, every: Bandpowers) -> FloatArray:
    """Each band's shape through the mask (columns), averaged over bands as the pseudo-spectrum is (rows)."""
    n = range(len(shapes))
    return np.block(
        [
            [
                every.bin(np.add.reduceat(blocks[abs(i - j)] * shapes[j], every.edges[:-1], axis=1).T).T
                for j in n
            ]
            for i in n
        ]
    )


def decoupled_covariance(
    covariance: FloatArray, coupling: FloatArray, bands: Bandpowers, *, shape: FloatArray | None = None
) -> FloatArray:
    """Return the covariance of the bandpowers of `decouple`, of which the pseudo-spectrum's is given.

    Parameters
    ----------
    covariance
        (k, lmax+1, lmax+1) of the pseudo-spectrum; of EE and BB (k = 2) each one's, which are taken to be independent.
    coupling, bands, shape
        As in `decouple`.

    Returns
    -------
    covariance
        (k, n, n) of each.
    """
    k, lmax, blocks = (
        len(covariance),
        covariance.shape[-1] - 1,
        np.reshape(coupling, (-1, *coupling.shape[-2:])),
    )
    every, first = _bands_around(bands, lmax, int(np.argmax(np.diagonal(blocks[0]) > 0)))
    shapes = _shapes(shape, bands, lmax, k)
    undone = np.linalg.inv(_system(blocks, shapes, every)) * every.bin(shapes).ravel()[:, None]
    undone = undone.reshape(k, every.n, k, every.n)[:, first : first + bands.n]
    binned = [every.bin(every.bin(one).T) for one in covariance]
    return np.stack([sum(row[:, j] @ binned[j] @ row[:, j].T for j in range(k)) for row in undone])


def _shapes(shape: FloatArray | None, bands: Bandpowers, lmax: int, n: int) -> FloatArray:
    """Return (n, lmax+1) the shapes of C_ell within bands."""
    if shape is None:
        ell = np.arange(lmax + 1)
        return np.tile(1 / np.maximum(ell * (ell + 1.0), 2.0), (n, 1))
    given = [validate_cl(row, "shape", lmax=lmax)[: lmax + 1] for row in np.atleast_2d(shape)]
    shapes = np.stack(given * (n // len(given)))
    if not np.all(shapes[:, bands.edges[0] : bands.edges[-1]] > 0):
        raise SpectrumError(
            "shape is 0 within the bands; it is the shape of C_ell there and must be positive"
        )
    return shapes


def _bands_around(bands: Bandpowers, lmax: int, lowest: int) -> tuple[Bandpowers, int]:
    """Return the bands with others below and above them, from `lowest` to lmax, and the index of the first."""
    low, high = int(bands.edges[0]), int(bands.edges[-1])
    below = list(range(lowest, low, int(bands.widths[0])))
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

    The weighted mean of T is subtracted first. Beam, pixel window and noise stay in.

    Parameters
    ----------
    sky
        (npix,) RING, or (3, npix) T, Q, U or (2, npix) Q, U; nothing is read where the weight is 0.
    weights
        (npix,) bool or float, RING; 0 in holes. Of T, Q, U also (2, npix), of T and of polarization.
    bands
        None narrower than 1/fsky, which is what a cut sky resolves.
    lmax
        Multipoles taken into account; None: `3*nside - 1`. Choose some way above the bands.
    shape
        The shape of C_ell within a band, see `decouple`; of polarization (lmax+1,) for all spectra, or (2, lmax+1) for
        EE and BB. What E leaks into a wide band of B depends on it.
    coupling
        Of T `coupling_matrix(weights, lmax)` if known already: it depends on the weights alone.

    Returns
    -------
    bandpowers
        (n,) float64, comparable to `bands.bin(cl)` of the full sky; of polarization a row for each spectrum of
        `anafast`.

    Raises
    ------
    SpectrumError
        If a band is narrower than 1/fsky or reaches beyond lmax.

    References
    ----------
    Hivon et al. 2002, ApJ 567, 2.
    """
    values, w = weighted_sky(sky, weights)
    lmax = 3 * npix_to_nside(w.shape[-1]) - 1 if lmax is None else int(lmax)
    least = narrowest_band(w)
    if bands.widths.min() < least:
        i = int(np.argmin(bands.widths))
        raise SpectrumError(
            f"the band from ell = {bands.edges[i]} to {bands.edges[i + 1] - 1} is {bands.widths[i]} wide; "
            f"at this sky fraction the least is 1/fsky, {least}: use log_bands(..., min_width={least})"
        )
    values = centered(values, w)
    if values.ndim == 1:
        coupling = coupling_matrix(w, lmax) if coupling is None else coupling
        return decouple(pseudo_cl(values, w, lmax), coupling, bands, shape=shape)
    return _decouple_all(pseudo_cl(values, w, lmax), w, bands, shape)


def centered(values: FloatArray, weights: FloatArray) -> FloatArray:
    """Return the map (npix,) or (k, npix) without the weighted mean of T, 0 where its weight is."""
    rows, w = np.atleast_2d(values).copy(), np.atleast_2d(weights)
    if len(rows) != 2:
        rows[0] -= np.average(np.where(w[0] != 0, rows[0], 0.0), weights=w[0])
    return np.where(w != 0, rows, 0.0).reshape(values.shape)


def _decouple_all(
    pseudo: FloatArray, weights: FloatArray, bands: Bandpowers, shape: FloatArray | None
) -> FloatArray:
    """Return a row for each spectrum of Q, U or T, Q, U."""
    fields, lmax, polarization = Fields.of(len(weights)), pseudo.shape[1] - 1, weights[-1]
    one = None if shape is None or np.ndim(shape) == 2 else shape
    found, row = {}, dict(zip(fields.spectra, pseudo, strict=True))
    both = coupling_matrix(polarization, lmax, spins=(2, 2))
    found["EE"], found["BB"] = decouple(np.stack([row["EE"], row["BB"]]), both, bands, shape=shape)
    found["EB"] = decouple(row["EB"], both[0] - both[1], bands, shape=one)
    if fields is Fields.TQU:
        found["TT"] = decouple(row["TT"], coupling_matrix(weights[0], lmax), bands, shape=one)
        cross = coupling_matrix(weights[0], lmax, spins=(0, 2), other=polarization)
        found["TE"], found["TB"] = (decouple(row[name], cross, bands, shape=one) for name in ("TE", "TB"))
    return np.stack([found[name] for name in fields.spectra])
