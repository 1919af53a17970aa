"""Quadratic estimates of band powers with the exact inverse covariance, and how they respond to the sky's spectrum.

Inputs: a mask and a sky model, what one band's power adds to the map's spectrum. Outputs: quadratic estimates and
their response.

With C the covariance of the observed pixels and `C_b = Y W_b Yᵀ` what a unit of band b's power adds to it,
`q_b = ½ dᵀ C⁻¹ C_b C⁻¹ d` has the mean `½ tr(C⁻¹ C_b C⁻¹ <d dᵀ>)` and, if C is true, Fisher's matrix as covariance
(Tegmark 1997, astro-ph/9611174, eq. 7 to 12; Oh, Spergel & Hinshaw 1999, astro-ph/9805339). `C⁻¹ d` and `Yᵀ C⁻¹ d`
come with each mean of the solver. Templates of any amplitude are projected out: C⁻¹ loses what they are in.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from cmbinpaint._types import BoolArray, ComplexArray, FloatArray
from cmbinpaint.errors import MapError
from cmbinpaint.gaussian.solver import GaussianSolver
from cmbinpaint.sims.sky_model import SkyModel
from cmbinpaint.sphere.harmonics import alm_degrees, alm_to_cl, scale_alm
from cmbinpaint.sphere.pixels import pixel_vectors

# Of the solves, in posterior standard deviations in the holes: quadratic estimates are then right to 1e-4.
TOLERANCE = 3e-4
# Condition number of the templates' overlaps from which one is made of the others: those of a monopole and a dipole
# seen through a hundredth of the sky reach 1e6.
_ALIKE = 1e10
# Steps where nothing is missing: the solver watches holes, and there are none.
_STEPS_WITHOUT_HOLES = 30


class InverseCovariance:
    """`Yᵀ C⁻¹` of maps of T; monopole, dipole and templates are projected out.

    Parameters
    ----------
    valid
        (npix,) bool, RING; True where a pixel is data.
    sky_model
        Of T; its prior of monopole and dipole is not used.
    templates
        Maps (npix,) to project out too.

    Raises
    ------
    MapError
        If a template is a constant or a dipole in the observed pixels, or made of the others.
    """

    def __init__(self, valid: BoolArray, sky_model: SkyModel, templates: Sequence[FloatArray] = ()) -> None:
        signal = sky_model.signal_cl.copy()
        signal[:2] = 0.0
        self.solver = GaussianSolver(valid, replace(sky_model, signal_cl=signal))
        self.harmonics = self.solver.harmonics
        self._unroot = np.divide(1.0, np.sqrt(signal), out=np.zeros(signal.size), where=signal > 0)
        self._rms = sky_model.rms * float(np.sqrt(np.mean(valid)))
        smooth = [np.ones(valid.size), *pixel_vectors(sky_model.nside).T]
        given = [np.where(valid, template, 0.0) for template in (*smooth, *templates)]
        scales = [float(np.sqrt(np.mean(np.square(template)))) for template in given]
        self._templates = [t / scale if scale else t for t, scale in zip(given, scales, strict=True)]
        overlaps = np.array([[float(a @ b) for b in self._templates] for a in self._templates])
        if np.linalg.cond(overlaps) > _ALIKE:
            raise MapError(
                f"of the {len(templates)} templates one is zero, a constant or a dipole in the observed pixels (these "
                "are always projected out), or made of the others; leave it out"
            )
        solved = [self._inverse(template) for template in self._templates]
        self._modes = np.array([modes for _, modes in solved])
        products = [[float(a @ weighted) for weighted, _ in solved] for a in self._templates]
        self._amplitudes = np.linalg.inv(np.array(products))

    def apply(self, sky: FloatArray) -> ComplexArray:
        """(size,) `Yᵀ C⁻¹ sky` from ell = 2 on, zero below; holes are never read."""
        weighted, modes = self._inverse(sky)
        found = self._amplitudes @ [float(template @ weighted) for template in self._templates]
        return modes - found @ self._modes

    def _inverse(self, sky: FloatArray) -> tuple[FloatArray, ComplexArray]:
        """(npix,) `C⁻¹ sky` with nothing projected out, 0 in holes, and (size,) `Yᵀ` of it."""
        steps = _STEPS_WITHOUT_HOLES if self.solver.valid.all() else None
        known = np.where(self.solver.valid[0], sky, 0.0)
        # The tolerance is in the model's posterior standard deviations: noise, templates and the vectors that probe the
        # response are brought to the data's level, or they would be solved for to a few percent only.
        level = float(np.sqrt(np.mean(np.square(known)))) / self._rms or 1.0
        solution = self.solver.solve(known / level, steps=steps, tolerance=TOLERANCE, keep_modes=True)
        assert solution.modes is not None
        # Not the adjoint of the former: where signal is far above noise that would be a difference of equal numbers.
        weighted = self.solver.weighted(known - level * solution.mean)
        return weighted, level * scale_alm(solution.modes[0], self._unroot)


def quadratic(alm: ComplexArray, shapes: FloatArray, other: ComplexArray | None = None) -> FloatArray:
    """(n,) `½ Σ_l W_bl Σ_m |x_lm|²`, or of the product of two.

    Parameters
    ----------
    alm, other
        (size,) `Yᵀ C⁻¹` of one map, or of two.
    shapes
        (n, lmax+1) what a unit of each band's power adds to the map's C_ell, beam and pixel window included.
    """
    lmax = shapes.shape[1] - 1
    return 0.5 * shapes @ ((2 * np.arange(lmax + 1) + 1) * alm_to_cl(alm, lmax, other))


def response(
    inverse: InverseCovariance, shapes: FloatArray, window: FloatArray, rng: np.random.Generator, rounds: int
) -> Iterator[FloatArray]:
    """Yield, band by band, how its estimate's mean responds to the sky's C_ell: (lmax+1,) ∂<q_b>/∂C_l.

    That is `½ Σ_m |Yᵀ C⁻¹ Y W_b^½ z|²_lm B_l²`, averaged over vectors z of random signs on the modes of the band
    (Hutchinson 1990): the mean over them is exact for each pair of modes but for products of different ones. A band of
    few modes is summed over them.

    Parameters
    ----------
    inverse
        Of the maps' covariance.
    shapes
        (n, lmax+1) as in `quadratic`.
    window
        (lmax+1,) the squared amplitude B_l² that the map's beam and pixels leave of C_ell.
    rng
        Draws signs.
    rounds
        Vectors a band.
    """
    lmax = window.size - 1
    modes = 2 * np.arange(lmax + 1) + 1
    for shape in shapes:
        total, n = np.zeros(lmax + 1), 0
        for signs in _probes(shape, rng, rounds):
            seen = inverse.apply(inverse.harmonics.synthesis(scale_alm(signs, np.sqrt(shape))))
            total += alm_to_cl(seen, lmax)
            n += 1
        n_modes = int(modes[shape > 0].sum())
        yield 0.5 * modes * window * total / (1 if n == n_modes else n)


def _probes(shape: FloatArray, rng: np.random.Generator, rounds: int) -> Iterator[ComplexArray]:
    """Vectors (size,) of one mode each where there are not many, else of random signs on all modes of a band."""
    lmax = shape.size - 1
    ell = alm_degrees(lmax)
    zonal = np.arange(ell.size) <= lmax
    inside = shape[ell] > 0
    if int(((2 * np.arange(lmax + 1) + 1)[shape > 0]).sum()) <= rounds:
        for i in np.flatnonzero(inside):
            for unit in (1.0,) if zonal[i] else (np.sqrt(0.5), 1j * np.sqrt(0.5)):
                one = np.zeros(ell.size, dtype=np.complex128)
                one[i] = unit
                yield one
        return
    for _ in range(rounds):
        real, imaginary = rng.choice([-1.0, 1.0], size=(2, ell.size))
        signs = np.where(zonal, real, np.sqrt(0.5) * (real + 1j * imaginary))
        yield np.where(inside, signs, 0.0)
