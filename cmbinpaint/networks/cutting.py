"""From sphere to patches: fields by harmonic evaluation, masks by the nearest pixel, both in a network's units.

Inputs: a filled map, tangent planes. Outputs: arrays (n, side, side).

A field is evaluated from its a_lm at the patch's pixel centers, which is exact for a band-limited map (bilinear
interpolation costs 1 to 7 % of the error's rms). Masks and other piecewise things are looked up, never averaged.
"""

from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np

from cmbinpaint._types import AnyArray, BoolArray, ComplexArray, Float32Array, FloatArray, IntArray
from cmbinpaint.plane.tangent import TangentPlane
from cmbinpaint.sphere.harmonics import Harmonics, alm_lmax, evaluate
from cmbinpaint.sphere.pixels import pixels_at_angles

# Patches need no more; ducc0's cost grows with the digits.
_EPSILON = 1e-5
# With fewer observed pixels than this a patch's own standard deviation means nothing.
_FEWEST = 16


def patch_angles(planes: Sequence[TangentPlane]) -> tuple[FloatArray, FloatArray]:
    """Colatitude and longitude of the pixels of patches: (n, side, side) each, in radians."""
    angles = [plane.to_sky(*plane.grid.rows_cols()) for plane in planes]
    return np.stack([theta for theta, _ in angles]), np.stack([phi for _, phi in angles])


def cut_field(alm: ComplexArray, planes: Sequence[TangentPlane], *, threads: int | None = None) -> FloatArray:
    """Evaluate a field on patches: (n, side, side) float64; threads None: all cores."""
    return evaluate(alm, alm_lmax(alm.size), *patch_angles(planes), epsilon=_EPSILON, threads=threads)


class SmoothMap(NamedTuple):
    """A map that is known everywhere, to be evaluated anywhere."""

    alm: AnyArray  # in single precision, of the map less its mean: a large constant would leave ripples
    mean: float

    @classmethod
    def of(cls, sky: FloatArray, nside: int, *, threads: int | None = None) -> Self:
        """Analyze a (12 nside²,) RING map."""
        mean = float(sky.mean())
        centered: AnyArray = np.empty(sky.size, np.float32)
        np.subtract(sky, mean, out=centered, casting="same_kind")
        harmonics = Harmonics(nside, 3 * nside - 1, single=True, threads=threads)
        return cls(harmonics.analysis(centered, iterations=1), mean)

    def at(self, theta: FloatArray, phi: FloatArray, *, threads: int | None = None) -> FloatArray:
        """Float32 at any points, in their shape."""
        values = evaluate(self.alm, alm_lmax(self.alm.size), theta, phi, epsilon=_EPSILON, threads=threads)
        return values + np.float32(self.mean)


def nearest_pixels(nside: int, planes: Sequence[TangentPlane]) -> IntArray:
    """RING index of the map pixel under each patch pixel: (n, side, side)."""
    return pixels_at_angles(nside, *patch_angles(planes))


def known_pixels(known: BoolArray, nside: int, planes: Sequence[TangentPlane]) -> BoolArray:
    """(n, side, side) the patch pixels that are data: those of which a corner lies in a known map pixel.

    What lies wholly in holes is a hole. A patch pixel that mixes holes and data has the value of the map made smooth,
    which there is what the data around it say.
    """
    inside = []
    for plane in planes:
        edges = np.arange(plane.grid.side + 1) - 0.5
        corners = known[pixels_at_angles(nside, *plane.to_sky(edges[:, None], edges[None, :]))]
        rows = corners[1:] | corners[:-1]
        inside.append(rows[:, 1:] | rows[:, :-1])
    return np.stack(inside)


class Scaling(NamedTuple):
    """What was removed from each of n patches: `unit * patch + offset` is the field again."""

    offset: FloatArray  # (n,)
    unit: FloatArray  # (n,)

    @classmethod
    def of(cls, fields: FloatArray, known: BoolArray) -> "Scaling":
        """The mean and the standard deviation of each patch's known pixels.

        The best prediction of a Gaussian field is linear and lets a constant pass, so that neither choice costs
        anything; a network that sees every patch so need not learn amplitudes.
        """
        n = np.count_nonzero(known, axis=(1, 2))
        offset = np.sum(fields, axis=(1, 2), where=known, dtype=np.float64) / np.maximum(n, 1)
        square = np.sum(np.square(fields - offset[:, None, None]), axis=(1, 2), where=known, dtype=np.float64)
        std = np.sqrt(square / np.maximum(n, 1))
        fair = std[n >= _FEWEST]
        return cls(offset, np.where(n >= _FEWEST, std, np.median(fair) if fair.size else 0.0))

    def apply(self, fields: FloatArray) -> Float32Array:
        """(n, side, side) fields in the patches' units."""
        unit = np.where(self.unit > 0, self.unit, 1.0)  # what is constant stays so
        return ((fields - self.offset[:, None, None]) / unit[:, None, None]).astype(np.float32)

    def undo(self, patches: Float32Array | FloatArray) -> FloatArray:
        """(n, side, side) patches as fields."""
        return self.unit[:, None, None] * patches.astype(np.float64) + self.offset[:, None, None]
