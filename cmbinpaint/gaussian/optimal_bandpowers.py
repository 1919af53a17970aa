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

from cmbinpaint._types import BoolArray, ComplexArray, FloatArray
from cmbinpaint.errors import MapError
from cmbinpaint.gaussian.solver import GaussianSolver
from cmbinpaint.sims.sky_model import SkyModel
from cmbinpaint.sphere.ell_matrix import EllMatrix
from cmbinpaint.sphere.fields import Fields
from cmbinpaint.sphere.harmonics import alm_degrees, alm_lmax, alm_size, alm_to_cl, scale_alm
from cmbinpaint.sphere.pixels import pixel_vectors

# Of the solves, in posterior standard deviations in the holes: quadratic estimates are then right to 1e-4.
TOLERANCE = 3e-4
# Of Q and U also the E and B power of what is missing, over the sky's.
POWER_TOLERANCE = 1e-6
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

    Raises
    ------
    MapError
        If a template is zero in the observed pixels, made of the others, or of T a constant or a dipole.
    """

    def __init__(self, valid: BoolArray, sky_model: SkyModel, templates: Sequence[FloatArray] = ()) -> None:
        signal = sky_model.signal_cl.copy()
        signal[..., :2] = 0.0
        self.solver = GaussianSolver(valid, replace(sky_model, signal_cl=signal))
        self.harmonics = self.solver.harmonics
        self._unroot = _inverse_of_transposed(self.solver.root)
        self._rms = sky_model.stokes_rms * np.sqrt(np.mean(self.solver.valid, axis=1))
        given = [self._known(one) for one in (*_smooth_maps(sky_model), *templates)]
        scales = [float(np.sqrt(np.mean(np.square(template)))) for template in given]
        self._templates = [t / scale if scale else t for t, scale in zip(given, scales, strict=True)]
        if not self._templates:
            return
        overlaps = np.array([[float(np.vdot(a, b)) for b in self._templates] for a in self._templates])
        if np.linalg.cond(overlaps) > _ALIKE:
            raise MapError(
                f"of the {len(templates)} templates one is zero, a constant or a dipole in the observed pixels (these "
                "are always projected out), or made of the others; leave it out"
            )
        solved = [self._inverse(template) for template in self._templates]
        self._modes = np.array([modes.ravel() for _, modes in solved])
        products = [[float(np.vdot(a, weighted)) for weighted, _ in solved] for a in self._templates]
        self._amplitudes = np.linalg.inv(np.array(products))

    def apply(self, sky: FloatArray) -> ComplexArray:
        """(k, size) `Yᵀ C⁻¹ sky` from ell = 2 on, zero below; holes are never read."""
        weighted, modes = self._inverse(self._known(sky))
        if not self._templates:
            return modes
        found = self._amplitudes @ [float(np.vdot(template, weighted)) for template in self._templates]
        return modes - (found @ self._modes).reshape(modes.shape)

    def _known(self, sky: FloatArray) -> FloatArray:
        """(k, npix) what is data."""
        valid = self.solver.valid
        return np.where(valid, np.reshape(sky, valid.shape), 0.0)

    def _inverse(self, known: FloatArray) -> tuple[FloatArray, ComplexArray]:
        """(k, npix) `C⁻¹ sky` with nothing projected out, 0 in holes, and (k, size) `Yᵀ` of it."""
        steps = _STEPS_WITHOUT_HOLES if self.solver.valid.all() else None
        # The tolerance is in the model's posterior standard deviations: noise, templates and the vectors that probe the
        # response are brought to the data's level, or they would be solved for to a few percent only.
        level = float(np.max(np.sqrt(np.mean(np.square(known), axis=1)) / self._rms)) or 1.0
        sky_shape = known.shape if len(known) > 1 else known.shape[1:]
        solution = self.solver.solve(
            (known / level).reshape(sky_shape),
            steps=steps,
            tolerance=TOLERANCE,
            power_tolerance=POWER_TOLERANCE,
            keep_modes=True,
        )
        assert solution.modes is not None
        # Not the adjoint of the former: where signal is far above noise that would be a difference of equal numbers.
        weighted = self.solver.weighted(known - level * solution.mean.reshape(known.shape))
        return weighted.reshape(known.shape), level * self._unroot.apply(solution.modes)


def _smooth_maps(sky_model: SkyModel) -> list[FloatArray]:
    """Monopole and dipole of T, as maps of its Stokes parameters."""
    if sky_model.fields is Fields.QU:
        return []
    smooth = [np.ones(sky_model.npix), *pixel_vectors(sky_model.nside).T]
    return [np.pad(one[None], ((0, sky_model.fields.n - 1), (0, 0))) for one in smooth]


def _inverse_of_transposed(root: EllMatrix) -> EllMatrix:
    """`L⁻ᵀ` of a lower triangular L at each ell, zero for modes without power."""
    alive = np.diagonal(root.values).T > 0
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
    """How the estimate of each band's power responds to the sky's C_ell: ∂<q_b>/∂C_l.

    Of TT, EE and BB that is `½ Σ_m |Yᵀ C⁻¹ Y W_b^½ z|²_lm B_l²`, averaged over vectors z of random signs on the modes
    of the band (Hutchinson 1990): the mean over them is exact for each pair of modes but for products of different
    ones. A band of few modes is summed over them. Of a cross spectrum it is the product of two such fields, one of
    each mode.

    Parameters
    ----------
    shapes
        (n_spectra, n_bands, lmax+1) as in `quadratic`; of cross spectra in proportion to the root of the product of
        their two modes' own.
    windows
        (n_spectra, lmax+1) what the map's beam and pixels leave of each C_ell.
    seed
        Draws signs.
    rounds
        Vectors a band.
    """

    def __init__(
        self, shapes: FloatArray, windows: FloatArray, seed: np.random.SeedSequence, rounds: int
    ) -> None:
        self._shapes, self._seed, self._rounds = shapes, seed, rounds
        self.fields = {1: Fields.T, 3: Fields.QU, 6: Fields.TQU}[len(shapes)]
        self._modes = 2 * np.arange(shapes.shape[-1]) + 1
        self._factor = 0.5 * self._modes * windows
        own = {pair[0]: n for n, pair in enumerate(self.fields.pairs) if pair[0] == pair[1]}
        self._own = [shapes[own[mode]] for mode in range(self.fields.n)]

    def of(self, band: int, inverse: InverseCovariance) -> FloatArray:
        """(n_spectra, n_spectra, lmax+1): of this band of each spectrum, to each spectrum's C_ell."""
        total, n = np.zeros((len(self._shapes), *self._factor.shape)), 0
        inside = np.any([own[band] > 0 for own in self._own], axis=0)
        for signs in _probes(inside, self._generator(band), self._rounds):
            seen = []
            for mode, own in enumerate(self._own):
                alm = np.zeros((self.fields.n, signs.size), dtype=np.complex128)
                alm[mode] = scale_alm(signs, np.sqrt(own[band]))
                seen.append(inverse.apply(inverse.harmonics.synthesis(alm)))
            for row, (i, j) in zip(total, self.fields.pairs, strict=True):
                row += _products(seen[i], seen[j])
            n += 1
        for row, shape, (i, j) in zip(total, self._shapes, self.fields.pairs, strict=True):
            if i != j:  # half of it from either order
                both = np.sqrt(self._own[i][band] * self._own[j][band])
                row *= 2 * shape[band].sum() / both.sum()
        n_modes = int(self._modes[inside].sum())
        return self._factor * total / (1 if n == n_modes else n)

    def _generator(self, band: int) -> np.random.Generator:
        """The generator of signs where those of the bands before are drawn."""
        rng = np.random.default_rng(self._seed)
        for before in range(band):
            inside = np.any([own[before] > 0 for own in self._own], axis=0)
            if int(self._modes[inside].sum()) > self._rounds:
                for _ in range(self._rounds):
                    _signs(rng, alm_size(inside.size - 1))
        return rng


def _probes(inside: BoolArray, rng: np.random.Generator, rounds: int) -> Iterator[ComplexArray]:
    """Vectors (size,) of one mode each where there are not many, else of random signs on all modes of a band."""
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
    for _ in range(rounds):
        real, imaginary = _signs(rng, ell.size)
        signs = np.where(zonal, real, np.sqrt(0.5) * (real + 1j * imaginary))
        yield np.where(inside[ell], signs, 0.0)


def _signs(rng: np.random.Generator, size: int) -> FloatArray:
    return rng.choice([-1.0, 1.0], size=(2, size))
