"""The E and B power of what is still missing in a fill, beside the sky's.

Inputs: what changes in the holes of Q and U. Outputs: amplitudes over the sky's, band by band.

How far Q and U are from the answer says little of B: a change that is confined to holes turns E into B, of which the
sky has so much less.
"""

import numpy as np

from cmbinpaint._types import FloatArray, IntArray
from cmbinpaint.sphere.ell_matrix import EllMatrix
from cmbinpaint.sphere.harmonics import Harmonics, alm_to_cl

# Bands are this wide in ell, or two multipoles; up to 1.5 nside, where a map's pixels still resolve them.
WIDTH = 0.25


class MissingPower:
    """Measures changes in the holes of Q and U.

    Parameters
    ----------
    harmonics
        The solver's transforms.
    signal
        The sky's spectra in the map.
    places
        (n,) where the values are: ``stokes * npix + pixel``, of Q and then U.
    """

    def __init__(self, harmonics: Harmonics, signal: EllMatrix, places: IntArray) -> None:
        lmax = max(2, min(signal.lmax, 3 * harmonics.nside // 2))
        self._harmonics = Harmonics(harmonics.nside, lmax, threads=harmonics.threads)
        self._places = places
        edges = [2]
        while edges[-1] <= lmax:
            edges.append(edges[-1] + max(2, int(WIDTH * edges[-1])))
        self._edges = np.array(edges[:-1])
        self._modes = 2.0 * np.arange(lmax + 1) + 1
        power = np.stack([signal.values[i, i, : lmax + 1] for i in (-2, -1)])
        self._signal = self._in_bands(power)
        self._used = self._signal > 0

    def of(self, moved: FloatArray, *, sky: FloatArray | None = None) -> FloatArray:
        """(bands,) the amplitude of a change (n,) over the sky's: E's bands and B's, where they have power.

        `sky` is a map (2, npix) to work in.
        """
        npix = self._harmonics.npix
        sky = np.empty((2, npix)) if sky is None else sky
        sky[:] = 0.0
        sky.reshape(-1)[self._places] = moved
        alm = self._harmonics.adjoint(sky)
        alm *= 4 * np.pi / npix
        power = self._in_bands(np.stack([alm_to_cl(row, self._harmonics.lmax) for row in alm]))
        return np.sqrt(power[self._used] / self._signal[self._used])

    def _in_bands(self, cl: FloatArray) -> FloatArray:
        return np.add.reduceat(cl * self._modes, self._edges, axis=1)
