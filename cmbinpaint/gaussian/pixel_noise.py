"""The noise of the data as the solvers use it: not below a floor, inverted, of no weight where nothing is observed.

Inputs: a sky model and masks. Outputs: `PixelNoise`; `mask_of_each`, what is data of each Stokes parameter;
`signal_rms` and `floored_noise` for one of them.
"""

import warnings

import numpy as np

from cmbinpaint._types import AnyArray, BoolArray, FloatArray
from cmbinpaint.errors import CmbInpaintWarning, MaskError, SpectrumError
from cmbinpaint.sims.map_signal import LEAST_NOISE
from cmbinpaint.sims.sky_model import SkyModel
from cmbinpaint.sphere.fields import Fields
from cmbinpaint.sphere.power import symmetric


def signal_rms(signal_cl: FloatArray) -> float:
    """The rms of a sky of this spectrum, without monopole and dipole (which hold a broad prior)."""
    # `pixel_variance`, but each term is divided: the noise's floor, and with it the last bits of fills, hang on it.
    rms = float(np.sqrt(((2 * np.arange(signal_cl.size) + 1) * signal_cl / (4 * np.pi))[2:].sum()))
    if rms == 0.0:
        raise SpectrumError("signal_cl is zero above ell = 1: there is no signal to predict")
    return rms


def stokes_rms(sky_model: SkyModel) -> list[float]:
    """The rms of each Stokes parameter's signal; Q and U hold half of E and of B each."""
    power = np.diagonal(sky_model.signal.values).T
    rows = [] if sky_model.fields is Fields.QU else [power[0]]
    if sky_model.fields is not Fields.T:
        rows += 2 * [power[-2:].mean(axis=0)]
    return [signal_rms(row) for row in rows]


def floored_noise(
    noise_std: float | FloatArray,
    valid: BoolArray,
    rms: float,
    *,
    quiet: bool = False,
    name: str = "noise_std",
) -> FloatArray:
    """The noise of each observed pixel, not below `LEAST_NOISE` of the signal's rms; warns of it unless `quiet`.

    Returns
    -------
    (n_valid,) float64.
    """
    noise = np.asarray(noise_std, dtype=np.float64)
    std = np.full(int(valid.sum()), float(noise)) if noise.ndim == 0 else noise[valid]
    floor = LEAST_NOISE * rms
    n_low = int(np.sum(std < floor))
    if n_low and not quiet:
        none = "" if std.any() else ". If the map has noise, give its noise_std"
        warnings.warn(
            f"{name} is below {LEAST_NOISE:g} of the signal's rms in {n_low} observed pixels; taken as "
            f"{floor:.3g} there, because without noise the problem is singular{none}",
            CmbInpaintWarning,
            stacklevel=4,
        )
    return np.maximum(std, floor, out=std)


def mask_of_each(valid: BoolArray, sky_model: SkyModel) -> BoolArray:
    """(k, npix) what is data of each Stokes parameter; Q and U are so together or not at all."""
    valid, k, npix = np.asarray(valid, dtype=bool), sky_model.fields.n, sky_model.npix
    if valid.shape[-1:] != (npix,):
        raise MaskError(
            f"the mask has {valid.shape[-1] if valid.ndim else 0} pixels, the sky model is for nside {sky_model.nside} "
            f"({npix} pixels); make the sky model at the map's nside"
        )
    if valid.ndim > 2 or (valid.ndim == 2 and len(valid) not in {1, k, len(sky_model.fields.spins)}):
        raise MaskError(
            f"the mask has shape {valid.shape}; expected ({npix},) for all of {sky_model.fields.stokes}, "
            "or a row for each"
        )
    if valid.ndim == 2 and len(valid) == 2 and k == 3:
        valid = valid[[0, 1, 1]]
    each = np.array(np.broadcast_to(valid, (k, npix)))
    if k > 1:
        each[-2:] = each[-2:].all(axis=0)
    if not each.any(axis=1).all():
        raise MaskError("all pixels are masked: nothing is observed, so nothing can be filled")
    return each


class PixelNoise:
    """N⁻¹ of the data, between the Stokes parameters of each pixel.

    Parameters
    ----------
    sky_model
        Its noise per pixel, per Stokes parameter, or covariance of Stokes parameters.
    valid
        (k, npix) bool; True where a Stokes parameter is data.

    Attributes
    ----------
    weight
        (k,) the sum of N⁻¹ over the data of each Stokes parameter.
    power
        (k,) the level of the noise spectrum of each mode: T, E, B.
    """

    def __init__(self, sky_model: SkyModel, valid: BoolArray) -> None:
        stokes, npix = sky_model.fields.stokes, valid.shape[1]
        # Single precision is far finer than noise levels are known to, but not where covariances nearly cancel, nor
        # does it reach the squares of very small or large ones.
        self._diagonal = np.zeros(valid.shape, dtype=np.float32)
        self._mixed: dict[tuple[int, int], AnyArray] = {}
        self.power = np.empty(len(stokes))
        variance = []
        for i, rms in enumerate(stokes_rms(sky_model)):
            one = len(stokes) == 1
            level = sky_model.noise_std if one else np.asarray(sky_model.noise_std)[i]
            name = "noise_std" if one else f"the noise of {stokes[i]}"
            std = floored_noise(level, valid[i], rms, name=name)
            variance.append(np.square(std))
            if std.min() <= 1e-15 or std.max() >= 1e15:
                self._diagonal = self._diagonal.astype(np.float64)
            self._diagonal[i, valid[i]] = 1.0 / variance[i]
            self.power[i] = float(np.mean(variance[i])) * 4 * np.pi / npix
        if len(stokes) > 1:
            self.power[-2:] = self.power[-2:].mean()  # E and B hold half of the noise of Q and of U each
        if sky_model.noise_cov is not None:
            self._invert(sky_model.noise_cov, valid, variance)
        self.weight = self._diagonal.sum(axis=1, dtype=np.float64)

    def apply(self, sky: FloatArray) -> FloatArray:
        """`N⁻¹ sky` in place, (k, npix); zero where nothing is observed."""
        products = [
            (row, inverse * sky[column])
            for (i, j), inverse in self._mixed.items()
            for row, column in ((i, j), (j, i))
        ]
        sky *= self._diagonal
        for row, product in products:
            sky[row] += product
        return sky

    def _invert(self, noise_cov: FloatArray, valid: BoolArray, variance: list[FloatArray]) -> None:
        """Take the covariances of a pixel's Stokes parameters into account, of those that are observed there."""
        k, npix = valid.shape
        self._diagonal = self._diagonal.astype(np.float64)
        matrices = np.ascontiguousarray(symmetric(noise_cov, k).transpose(2, 0, 1))
        for i in range(k):
            matrices[valid[i], i, i] = variance[i]
        pattern = np.packbits(valid, axis=0, bitorder="little")[0]
        for bits in np.unique(pattern[pattern > 0]):
            rows, pixels = np.flatnonzero(bits >> np.arange(k) & 1), np.flatnonzero(pattern == bits)
            inverse = np.linalg.inv(matrices[np.ix_(pixels, rows, rows)])
            for a, i in enumerate(rows.tolist()):
                self._diagonal[i, pixels] = inverse[:, a, a]
                for b, j in enumerate(rows.tolist()):
                    if i < j and inverse[:, a, b].any():
                        entry = self._mixed.setdefault((i, j), np.zeros(npix))
                        entry[pixels] = inverse[:, a, b]
