"""Quadratic estimates of band powers with the exact inverse covariance, and how they respond to the sky's spectrum.

Inputs: a mask and a sky model, what one band's power adds to the map's spectra. Outputs: quadratic estimates and
their response.

With C the covariance of the observed pixels and `C_b = Y W_b Yᵀ` what a unit of band b's power adds to it,
`q_b = ½ dᵀ C⁻¹ C_b C⁻¹ d` has the mean `½ tr(C⁻¹ C_b C⁻¹ <d dᵀ>)` and, if C is true, Fisher's matrix as covariance
(Tegmark 1997, astro-ph/9611174, eq. 7 to 12; Oh, Spergel & Hinshaw 1999, astro-ph/9805339; of polarization Tegmark &
de Oliveira-Costa 2001, astro-ph/0012120). A band of a cross spectrum stands in both places of W_b: TE and ET. `C⁻¹ d`
and `Yᵀ C⁻¹ d` come with each mean of the solver. Templates of any amplitude are projected out: C⁻¹ loses what they are
in.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from scipy.linalg import hadamard

from cmbinpaint._types import BoolArray, ComplexArray, FloatArray
from cmbinpaint.errors import MapError
from cmbinpaint.gaussian.solver import GaussianSolver
from cmbinpaint.sims.map_signal import with_broad_prior
from cmbinpaint.sims.sky_model import SkyModel
from cmbinpaint.sphere.ell_matrix import EllMatrix
from cmbinpaint.sphere.fields import Fields
from cmbinpaint.sphere.harmonics import alm_degrees, alm_dot, alm_lmax, alm_to_cl, scale_alm
from cmbinpaint.sphere.pixels import pixel_vectors

# Of the solves, in posterior standard deviations in the holes: quadratic estimates are then within 0.002 of their
# standard deviations (docs/spectra.md).
TOLERANCE = 3e-3
# Of Q and U also the E and B power of what is missing, over the sky's.
POWER_TOLERANCE = 1e-3
# How much looser vectors that probe the response are solved for: their level is each vector's own.
PROBE_SLACK = 3.0
# Condition number of the templates' overlaps from which one is made of the others: those of a monopole and a dipole
# seen through a hundredth of the sky reach 1e6.
_ALIKE = 1e10
# Steps where nothing is missing: the solver watches holes, and there are none.
_STEPS_WITHOUT_HOLES = 30


class InverseCovariance:
    """`Yᵀ C⁻¹` of maps; templates, and monopole and dipole of T, are projected out.

    Parameters
    ----------
    valid
        True where a pixel is data, as `GaussianSolver` takes it.
    sky_model
        Its prior of monopole and dipole is not used.
    templates
        Maps (npix,), or (k, npix), to project out too.
    tolerance, power_tolerance
        Of the solves, as in `GaussianSolver.solve`, of data brought to the model's level.

    Raises
    ------
    MapError
        If a template is zero in the observed pixels, made of the others, or of T a constant or a dipole.
    """

    def __init__(
        self, valid: BoolArray, sky_model: SkyModel, templates: Sequence[FloatArray] = (), *,
        tolerance: float = TOLERANCE, power_tolerance: float = POWER_TOLERANCE,
    ) -> None:  # fmt: skip
        self._tolerances = tolerance, power_tolerance
        # With a broad prior no data say anything of a constant or a dipole. Without power there the solver's holes,
        # each made of its neighbors, would be free to have a dipole that the sky has not: ten times more steps.
        signal = with_broad_prior(sky_model.signal_cl, sky_model.noise_std, sky_model.nside)
        self.solver = GaussianSolver(valid, replace(sky_model, signal_cl=signal))
        self.harmonics = self.solver.harmonics
        self._unroot = _inverse_of_transposed(self.solver.root)
        self._rms = sky_model.stokes_rms * np.sqrt(np.mean(self.solver.valid, axis=1))
        self._smooth = [self._known(one) for one in _smooth_maps(sky_model)]
        self._flat = np.linalg.inv(_overlaps(self._smooth, self._smooth))
        self._templates = [_unit_rms(self._known(one)) for one in templates]
        every = [_unit_rms(one) for one in self._smooth] + self._templates
        if self._templates and np.linalg.cond(_overlaps(every, every)) > _ALIKE:
            raise MapError(
                f"of the {len(templates)} templates one is zero, a constant or a dipole in the observed pixels (these "
                "are always projected out), or made of the others; leave it out"
            )
        self._templates = [self._without_smooth(one) for one in self._templates]
        self._weighted = [self._weighted_by_inverse(one) for one in self._templates]
        self._amplitudes = np.linalg.inv(_overlaps(self._templates, self._weighted))

    def apply(self, sky: FloatArray, *, slack: float = 1.0) -> ComplexArray:
        """(k, size) `Yᵀ C⁻¹ sky` from ell = 2 on, zero below; holes are never read.

        The tolerances are `slack` times those of the filter.
        """
        known = self._without_smooth(self._known(sky))
        found = self._amplitudes @ _overlaps(self._weighted, [known])[:, 0]
        return self._solve(_less(known, self._templates, found), slack)[1]

    def _known(self, sky: FloatArray) -> FloatArray:
        """(k, npix) what is data."""
        valid = self.solver.valid
        return np.where(valid, np.reshape(sky, valid.shape), 0.0)

    def _without_smooth(self, known: FloatArray) -> FloatArray:
        """Without the fitted monopole and dipole: the prior is broad, not infinite."""
        return _less(known, self._smooth, self._flat @ _overlaps(self._smooth, [known])[:, 0])

    def _weighted_by_inverse(self, known: FloatArray) -> FloatArray:
        """(k, npix) `C⁻¹ sky`, 0 in holes."""
        mean, _ = self._solve(known)
        return self.solver.weighted(known - mean).reshape(known.shape)

    def _solve(self, known: FloatArray, slack: float = 1.0) -> tuple[FloatArray, ComplexArray]:
        """(k, npix) the signal's mean, and (k, size) `Yᵀ C⁻¹` of the data, templates not projected out."""
        steps = _STEPS_WITHOUT_HOLES if self.solver.valid.all() else None
        # The tolerance is in the model's posterior standard deviations: noise, templates and the vectors that probe the
        # response are brought to the data's level, or they would be solved for to a few percent only.
        level = float(np.max(np.sqrt(np.mean(np.square(known), axis=1)) / self._rms)) or 1.0
        sky_shape = known.shape if len(known) > 1 else known.shape[1:]
        solution = self.solver.solve(
            (known / level).reshape(sky_shape),
            steps=steps,
            tolerance=slack * self._tolerances[0],
            power_tolerance=slack * self._tolerances[1],
            keep_modes=True,
        )
        assert solution.modes is not None
        return level * solution.mean.reshape(known.shape), level * self._unroot.apply(solution.modes)


def _overlaps(first: Sequence[FloatArray], second: Sequence[FloatArray]) -> FloatArray:
    return np.array([[float(np.vdot(a, b)) for b in second] for a in first]).reshape(len(first), len(second))


def _less(known: FloatArray, maps: Sequence[FloatArray], amplitudes: FloatArray) -> FloatArray:
    """The map without these amplitudes of others."""
    for one, amplitude in zip(maps, amplitudes, strict=True):
        known = known - amplitude * one
    return known


def _unit_rms(template: FloatArray) -> FloatArray:
    scale = float(np.sqrt(np.mean(np.square(template))))
    return template / scale if scale else template


def _smooth_maps(sky_model: SkyModel) -> list[FloatArray]:
    """Monopole and dipole of T, as maps of its Stokes parameters."""
    if sky_model.fields is Fields.QU:
        return []
    smooth = [np.ones(sky_model.npix), *pixel_vectors(sky_model.nside).T]
    return [np.pad(one[None], ((0, sky_model.fields.n - 1), (0, 0))) for one in smooth]


def _inverse_of_transposed(root: EllMatrix) -> EllMatrix:
    """`L⁻ᵀ` of a lower triangular L at each ell from 2 on, zero for modes without power."""
    alive = np.diagonal(root.values).T > 0
    alive[:, :2] = False
    filled = root.plus_diagonal(np.where(alive, 0.0, 1.0))
    inverse = filled.inverse().transposed.values
    return EllMatrix(np.where(alive[:, None] & alive[None], inverse, 0.0))


def quadratic(alm: ComplexArray, shapes: FloatArray, other: ComplexArray | None = None) -> FloatArray:
    """(n_spectra, n_bands) `½ Σ_l W_bl Σ_m |x_lm|²`, of cross spectra `Σ_l W_bl Σ_m Re(x_lm* y_lm)`; or of two maps.

    Parameters
    ----------
    alm, other
        (k, size) `Yᵀ C⁻¹` of one map, or of two.
    shapes
        (n_spectra, n_bands, lmax+1) what a unit of each band's power adds to the map's C_ell, beam and pixel window
        included; spectra in the order of `Fields.spectra`.
    """
    modes = 2 * np.arange(shapes.shape[-1]) + 1
    sums = modes * _products(alm, alm if other is None else other)
    return np.stack([0.5 * shape @ row for shape, row in zip(shapes, sums, strict=True)])


def _products(alm: ComplexArray, other: ComplexArray) -> FloatArray:
    """(n_spectra, lmax+1) the cross spectra of two fields' modes; of different modes that of either order, summed."""
    pairs, ell = Fields.of(len(alm)).pairs, alm_lmax(alm.shape[1])
    return np.stack(
        [
            alm_to_cl(alm[i], ell, other[i])
            if i == j
            else alm_to_cl(alm[i], ell, other[j]) + alm_to_cl(alm[j], ell, other[i])
            for i, j in pairs
        ]
    )


class Response:
    """How the estimate of each band's power responds to the sky's C_ell, ∂<q_b>/∂C_l, and what it has of noise.

    Of TT, EE and BB the response is `½ Σ_m |x_lm|² B_l²` with `x = Yᵀ C⁻¹ Y W_b^½ z`, averaged over vectors z of signs
    on the modes of the band (Hutchinson 1990): the mean over them is exact for each pair of modes but for products of
    different ones. Signs are random over m and, of so many vectors, orthogonal over neighbors in ell, which are coupled
    most. A band of few modes is summed over them. Of a cross spectrum it is the product of two such fields, one of each
    mode. As C is signal and noise, the noise's `½ zᵀ W_b^½ Yᵀ C⁻¹ N C⁻¹ Y W_b^½ z` is `½ zᵀ W_b^½ x` less the
    response to the model's own spectra.

    Parameters
    ----------
    shapes
        (n_spectra, n_bands, lmax+1) as in `quadratic`; of cross spectra in proportion to the root of the product of
        their two modes' own.
    windows
        (n_spectra, lmax+1) what the map's beam and pixels leave of each C_ell.
    signal
        (n_spectra, lmax+1) the map's spectra in the model, without noise of any kind.
    rounds
        Vectors a band.
    """

    def __init__(self, shapes: FloatArray, windows: FloatArray, signal: FloatArray, rounds: int) -> None:
        self._shapes, self._rounds = shapes, rounds
        self.fields = {1: Fields.T, 3: Fields.QU, 6: Fields.TQU}[len(shapes)]
        self._modes = 2 * np.arange(shapes.shape[-1]) + 1
        self._windows, self._signal = windows, signal
        own = {pair[0]: n for n, pair in enumerate(self.fields.pairs) if pair[0] == pair[1]}
        self._own = [shapes[own[mode]] for mode in range(self.fields.n)]

    def of(
        self, band: int, inverse: InverseCovariance, rng: np.random.Generator
    ) -> tuple[FloatArray, FloatArray]:
        """The response of this band of each spectrum to each spectrum's C_ell, and what it has of noise.

        The generator draws signs.

        Returns
        -------
        response
            (n_spectra, n_spectra, lmax+1).
        noise
            (n_spectra,).
        """
        powers, total, n = np.zeros((len(self._shapes), *self._windows.shape)), np.zeros(len(self._shapes)), 0
        inside = np.any([own[band] > 0 for own in self._own], axis=0)
        for signs in _probes(inside, rng, self._rounds):
            probes = [scale_alm(signs, np.sqrt(own[band])) for own in self._own]
            seen = []
            for mode, probe in enumerate(probes):
                alm = np.zeros((self.fields.n, signs.size), dtype=np.complex128)
                alm[mode] = probe
                seen.append(inverse.apply(inverse.harmonics.synthesis(alm), slack=PROBE_SLACK))
            for s, (i, j) in enumerate(self.fields.pairs):
                powers[s] += _products(seen[i], seen[j])
                total[s] += alm_dot(probes[i], seen[j][i], inside.size - 1)
            n += 1
        scale = np.full(len(total), 0.5 if n == self._modes[inside].sum() else 0.5 / n)
        for s, (i, j) in enumerate(self.fields.pairs):
            if i != j:  # half of it from either order
                both = np.sqrt(self._own[i][band] * self._own[j][band])
                scale[s] *= 2 * self._shapes[s, band].sum() / both.sum()
        powers *= scale[:, None, None] * self._modes
        return powers * self._windows, scale * total - np.tensordot(powers, self._signal, 2)


def _probes(inside: BoolArray, rng: np.random.Generator, rounds: int) -> Iterator[ComplexArray]:
    """Vectors (size,) of one mode each where there are not many, else of signs on all modes of a band."""
    lmax = inside.size - 1
    ell = alm_degrees(lmax)
    zonal = np.arange(ell.size) <= lmax
    if int((2 * np.arange(lmax + 1) + 1)[inside].sum()) <= rounds:
        for i in np.flatnonzero(inside[ell]):
            for unit in (1.0,) if zonal[i] else (np.sqrt(0.5), 1j * np.sqrt(0.5)):
                one = np.zeros(ell.size, dtype=np.complex128)
                one[i] = unit
                yield one
        return
    # Vectors of one draw are orthogonal at so many successive ell.
    together = 1 << min(int(rounds).bit_length() - 1, int(inside.sum() - 1).bit_length())
    orthogonal = hadamard(together)
    for n in range(rounds):
        if n % together == 0:
            real, imaginary = rng.choice([-1.0, 1.0], size=(2, ell.size))
            signs = np.where(zonal, real, np.sqrt(0.5) * (real + 1j * imaginary))
        yield np.where(inside[ell], signs * orthogonal[n % together][ell % together], 0.0)
