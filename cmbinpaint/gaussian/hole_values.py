"""The hole pixels of all Stokes parameters in a row: where they are, what is known of them, how well.

Inputs: masks, a sky model. Outputs: `HoleValues`, which the solver starts from and watches.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from cmbinpaint._types import BoolArray, FloatArray, IntArray
from cmbinpaint.gaussian.hole_posterior import hole_factor, polarization_posterior, std_by_depth
from cmbinpaint.gaussian.pixel_noise import stokes_rms
from cmbinpaint.gaussian.preconditioner import Part
from cmbinpaint.problem.model import HolePosterior
from cmbinpaint.problem.plan import Factors
from cmbinpaint.sims.sky_model import SkyModel
from cmbinpaint.sphere.fields import Fields


class HoleValues:
    """The values in holes of maps (k, npix): T's first, then those of Q and U; each in its factor's order.

    Parameters
    ----------
    valid
        (k, npix) bool; Q and U are data together.
    sky_model
        Of the same Stokes parameters.
    factored
        Whether to factor their distributions: that of T, and that of Q and U. One of both together would bring nothing.
    temperature
        The distribution of T's, if there is one already.
    threads
        None: all available cores.
    kept
        As in `hole_factor`.
    excluded
        (npix,) or (k, npix) bool: pixels whose values nobody wants; None: none.

    Attributes
    ----------
    parts
        The distributions, with the rows that they are of.
    places
        Of T, and of Q and U: (n,) numbers ``stokes * npix + pixel`` within their rows.
    wanted
        Of each spin: which of them somebody wants, (n,) bool, or all of them, a slice.
    """

    def __init__(
        self,
        valid: BoolArray,
        sky_model: SkyModel,
        *,
        factored: bool,
        temperature: HolePosterior | None = None,
        threads: int | None = None,
        kept: Factors | None = None,
        excluded: BoolArray | None = None,
    ) -> None:
        self.parts: list[Part] = []
        self.places = []
        self._npix, self._rms = valid.shape[1], stokes_rms(sky_model)
        self._rows = [rows for _, rows in sky_model.fields.spins]
        for spin, rows in sky_model.fields.spins:
            here = valid[rows]
            places = np.flatnonzero(~here)
            if factored and places.size:
                make = polarization_posterior if spin else hole_factor
                factor = None if spin else temperature
                if factor is None:
                    model = sky_model.only(Fields.QU if spin else Fields.T)
                    factor = make(here[0], model, threads=threads, kept=kept)
                self.parts.append((rows, factor))
                places = factor.holes
            self.places.append(places)
        if excluded is None or not excluded.any():
            self.wanted: list[Any] = [slice(None)] * len(self.places)
        else:
            unwanted = np.broadcast_to(excluded, valid.shape)
            self.wanted = [~unwanted[rows].reshape(-1)[at] for rows, at in self._each()]

    @property
    def temperature(self) -> HolePosterior | None:
        """The distribution of T's values, if there is one."""
        return self._factor_of(slice(0, 1))

    def of(self, sky: FloatArray) -> FloatArray:
        """(n,) the values in the holes of (k, npix)."""
        return np.concatenate([sky[rows].reshape(-1)[at] for rows, at in self._each()])

    def put(self, values: FloatArray, sky: FloatArray) -> None:
        """Write (n,) values into the holes of (k, npix)."""
        start = 0
        for rows, at in self._each():
            sky[rows].reshape(-1)[at] = values[start : start + at.size]
            start += at.size

    def _each(self) -> Iterator[tuple[slice, IntArray]]:
        """The rows of T, and of Q and U, with the places in them."""
        return zip(self._rows, self.places, strict=True)

    def _factor_of(self, rows: slice) -> HolePosterior | None:
        """The distribution of these rows' values, if there is one."""
        return next((factor for of, factor in self.parts if of == rows), None)

    def mean(self, observed: FloatArray) -> FloatArray:
        """(n,) what the factors expect of data (k, npix), zero where there is no factor."""
        means = []
        for rows, at in self._each():
            data = observed[0] if rows == slice(0, 1) else observed[rows]
            factor = self._factor_of(rows)
            means.append(np.zeros(at.size) if factor is None else factor.mean(data))
        return np.concatenate(means)

    def bins(self, edges: Sequence[float]) -> tuple[FloatArray, FloatArray]:
        """The bin of each value, by Stokes parameter and depth, and the signal's posterior std in each bin.

        Where there is no factor, one bin for all depths, and the signal's rms. What nobody wants is in its own bin,
        where any change is small.

        Parameters
        ----------
        edges
            Depths in pixels between the bins.
        """
        bins, std, n = [], [], 0
        for (rows, places), wanted in zip(self._each(), self.wanted, strict=True):
            factor = self._factor_of(rows)
            if factor is not None:
                of_two = rows.stop > rows.start + 1
                bin_of, level = std_by_depth(factor, edges, npix=self._npix if of_two else None)
            else:
                bin_of, level = (places // self._npix).astype(np.int8), np.array(self._rms[rows])
            if not isinstance(wanted, slice):
                bin_of = np.where(wanted, bin_of, np.int8(level.size))
                level = np.append(level, np.inf)
            bins.append(bin_of + n)
            std.append(level)
            n += level.size
        return np.concatenate(bins), np.concatenate(std)
