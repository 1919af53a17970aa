"""A classifier that needs no training run: Fisher's linear discriminant on the logarithms of a patch's power in rings.

Inputs: patches with their classes. Outputs: `RingDiscriminant`.

Of Gaussian skies the spectrum holds all there is to know, so that a rule on it is a fair test of spectral classes.
"""

from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np

from cmbinpaint._types import Float32Array, FloatArray, IntArray
from cmbinpaint.errors import DataSetError
from cmbinpaint.studies.patch_study import PatchSpectra

_RINGS = 24


class Classifier(Protocol):
    """A classifier of patches."""

    @property
    def name(self) -> str:
        """For tables."""
        ...

    @property
    def classes(self) -> int:
        """How many it knows."""
        ...

    def classify(self, patches_uK: FloatArray | Float32Array, rms_uK: float) -> IntArray:
        """(n,) the class of each of (n, side, side) patches; `rms_uK` is that of the field over all classes."""
        ...


@dataclass(frozen=True, eq=False)
class RingDiscriminant:
    """Fisher's discriminant: the class of the nearest mean, in the metric of the scatter within classes.

    Attributes
    ----------
    means
        (classes, rings) of the logarithms.
    inverse
        (rings, rings) of their covariance within classes.

    References
    ----------
    Fisher 1936, Ann. Eugen. 7, 179.
    """

    means: FloatArray
    inverse: FloatArray
    name: str = "Fisher's discriminant on ring powers"

    @property
    def classes(self) -> int:
        """How many classes it knows."""
        return len(self.means)

    @classmethod
    def learn(cls, patches_uK: FloatArray | Float32Array, labels: IntArray) -> Self:
        """Learn from patches of all classes.

        Raises
        ------
        DataSetError
            If there are fewer than two classes, or too few patches for the scatter within them.
        """
        n = int(labels.max(initial=-1)) + 1
        counts = np.bincount(labels, minlength=n)
        if n < 2 or counts.min() == 0 or labels.size < n + 2:
            raise DataSetError(
                f"{labels.size} patches of {np.count_nonzero(counts)} classes given; a classifier needs two classes or "
                "more, and patches of each"
            )
        values = _ring_logs(patches_uK)
        means = np.stack([values[labels == k].mean(0) for k in range(n)])
        within = np.atleast_2d((values - means[labels]).T @ (values - means[labels])) / (labels.size - n)
        # Few patches leave the scatter of many rings singular; a thousandth of its mean keeps it invertible.
        within += 1e-3 * np.trace(within) / len(within) * np.eye(len(within))
        return cls(means, np.asarray(np.linalg.inv(within), dtype=np.float64))

    def classify(self, patches_uK: FloatArray | Float32Array, rms_uK: float) -> IntArray:
        """(n,) the class of each of (n, side, side) patches."""
        values = _ring_logs(patches_uK)
        offset = values[:, None] - self.means
        return np.asarray(
            np.argmin(np.einsum("nkf,fg,nkg->nk", offset, self.inverse, offset), axis=1), dtype=np.int64
        )


def confusion_table(target: IntArray, found: IntArray, classes: int) -> IntArray:
    """(classes, classes): how many of class [row] were put into class [column]."""
    return np.bincount(target * classes + found, minlength=classes**2).reshape(classes, classes)


def _ring_logs(patches_uK: FloatArray | Float32Array) -> FloatArray:
    """(n, rings) logarithms of the power in rings of equal width, of Hann-windowed patches."""
    side = patches_uK.shape[-1]
    edges = np.linspace(0.75, side / 2, min(_RINGS, side // 4) + 1) * 2 * np.pi / side
    return np.log(PatchSpectra(side, 1.0, edges).auto(patches_uK.astype(np.float64)))
