"""What is assumed about a sky: the power of the signal in the map, and the noise of each pixel.

Inputs: theory spectra with a beam, or map-level spectra. Outputs: `SkyModel`, which every inpainter is
prepared with.

Beam, signal and noise cannot be told apart in one map and need not be: `signal_cl` is the power of the
signal *as it is in the map*, beam and pixel window included. Noise is white and independent between pixels,
of one level or a level per pixel; an isotropic colored part may be added to it. Of T, Q, U the spectra are a matrix at
each ell.
"""

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np

from cmbinpaint._types import AnyArray, FloatArray
from cmbinpaint.errors import SpectrumError
from cmbinpaint.sims.map_signal import map_signal, with_broad_prior
from cmbinpaint.sphere.ell_matrix import EllMatrix, validate_spectra
from cmbinpaint.sphere.fields import Fields
from cmbinpaint.sphere.maps import validate_nside
from cmbinpaint.sphere.power import (
    noise_power,
    pixel_variance,
    validate_cl,
    validate_noise,
    validate_noise_cov,
)


@dataclass(frozen=True, eq=False)
class SkyModel:
    """Gaussian model of a map: signal power and white noise, unit-free or in the map's unit.

    Parameters
    ----------
    nside
        Resolution of the map.
    signal_cl
        (lmax+1,) float, map-level signal power from ell = 0 (beam and pixel window included), unit².
        Entries 0 and 1 are prior variances of monopole and dipole, made broad by the constructors so that a
        constant or a dipole in the map is preserved in the fill. Of Q, U or T, Q, U a (k, k, lmax+1) matrix of E and B,
        or T, E and B.
    noise_std
        Standard deviation of the white noise per pixel: a float, or (npix,) float in RING order. Of Q, U or T, Q, U one
        for each: (k,) or (k, npix).
    source
        Where the model came from, in words.
    noise_cov
        Instead of `noise_std` of Q, U or T, Q, U: (3, npix) QQ, QU, UU, or (6, npix) II, IQ, IU, QQ, QU, UU, unit².
    is_estimated
        Whether it was estimated from a map.
    colored_noise_cl
        Of the shape of `signal_cl`, which includes it: the part that is noise, not behind the beam. Realizations of the
        observation have it, predictions and realizations of the signal leave it out.
    noise_source
        Where the noise came from, in words.

    Raises
    ------
    SpectrumError
        If the parts contradict each other.

    Examples
    --------
    >>> model = SkyModel(nside=2, signal_cl=[1.0, 1.0, 0.5], noise_std=0.1)
    >>> model.lmax
    2
    >>> model.signal_cl[0] = 2.0
    Traceback (most recent call last):
        ...
    ValueError: assignment destination is read-only
    """

    nside: int
    signal_cl: FloatArray
    noise_std: float | FloatArray = 0.0
    source: str = "given"
    noise_cov: FloatArray | None = None
    is_estimated: bool = False
    noise_source: str = "noise given"
    colored_noise_cl: FloatArray | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "nside", validate_nside(self.nside))
        if np.ndim(self.signal_cl) == 3:
            matrix = EllMatrix(np.array(self.signal_cl, dtype=np.float64))
            matrix.cholesky()
            cl = matrix.values
        else:
            cl = validate_cl(self.signal_cl, "signal_cl", lmax=2)
        if cl.shape[-1] > 4 * self.nside:
            raise SpectrumError(
                f"signal_cl reaches ell = {cl.shape[-1] - 1}; a map of nside {self.nside} holds nothing above "
                f"4*nside - 1 = {4 * self.nside - 1}. Cut it there, or let SkyModel.from_theory choose lmax."
            )
        cl.flags.writeable = False
        object.__setattr__(self, "signal_cl", cl)
        k = self.fields.n
        if self.noise_cov is not None:
            object.__setattr__(self, "noise_cov", validate_noise_cov(self.noise_cov, self.nside, k))
            object.__setattr__(self, "noise_std", noise_stds(self.noise_cov))
        object.__setattr__(self, "noise_std", validate_noise(self.noise_std, self.nside, k))
        if self.colored_noise_cl is not None:
            object.__setattr__(self, "colored_noise_cl", _part_of(self.colored_noise_cl, cl))
        if not cl.any() and not np.any(self.noise_std):
            raise SpectrumError(
                "the sky model has neither signal nor noise: give a cl or a noise_std above 0"
            )

    def __repr__(self) -> str:
        """In one line, without the numbers of its spectra."""
        noise = " to ".join(dict.fromkeys(f"{find(self.noise_std):.4g}" for find in (np.min, np.max)))
        return f"<SkyModel of {self.fields.stokes}, nside {self.nside}, lmax {self.lmax}, noise {noise}: {self.source}>"

    @property
    def npix(self) -> int:
        """Number of pixels of the map."""
        return 12 * self.nside**2

    @property
    def lmax(self) -> int:
        """The highest multipole of the signal."""
        return int(self.signal_cl.shape[-1]) - 1

    @property
    def fields(self) -> Fields:
        """What the model is of: T, or Q and U, or all three."""
        return Fields.T if self.signal_cl.ndim == 1 else Fields.of(len(self.signal_cl))

    @property
    def signal(self) -> EllMatrix:
        """The spectra as a matrix at each ell, of T alone too."""
        return EllMatrix(self.signal_cl)

    @property
    def colored_share(self) -> EllMatrix:
        """What of a field with these spectra is expected to be colored noise: `N (S + N)⁻¹` at each ell."""
        if self.colored_noise_cl is None:
            return EllMatrix(np.zeros_like(self.signal.values))
        no_mode = np.full(self.fields.n, np.finfo(float).tiny)  # where there is no power at all
        return EllMatrix(self.colored_noise_cl) / self.signal.plus_diagonal(no_mode)

    def only(self, fields: Fields) -> Self:
        """The model of T alone, or of Q and U alone, of a model of T, Q, U."""
        if fields is self.fields:
            return self
        if self.fields is not Fields.TQU:
            raise SpectrumError(f"a sky model of {self.fields.stokes} says nothing of {fields.stokes}")
        noise = np.asarray(self.noise_std)
        if fields is Fields.T:
            level = noise[0] if noise.ndim == 2 else float(noise[0])
            colored = None if self.colored_noise_cl is None else self.colored_noise_cl[0, 0]
            return replace(
                self,
                signal_cl=self.signal_cl[0, 0],
                noise_std=level,
                noise_cov=None,
                colored_noise_cl=colored,
            )
        cov = None if self.noise_cov is None else self.noise_cov[3:]
        colored = None if self.colored_noise_cl is None else self.colored_noise_cl[1:, 1:]
        return replace(
            self,
            signal_cl=self.signal_cl[1:, 1:],
            noise_std=noise[1:],
            noise_cov=cov,
            colored_noise_cl=colored,
        )

    @property
    def rms(self) -> float:
        """Standard deviation of the signal in a pixel, without monopole and dipole; of Q, U or T, Q, U the largest."""
        return float(self.stokes_rms.max())

    @property
    def stokes_rms(self) -> FloatArray:
        """(k,) standard deviation of each Stokes parameter's signal in a pixel, without monopole and dipole of T."""
        power = np.diagonal(self.signal.values).T.copy()
        if self.fields is not Fields.T:
            power[-2:] = power[-2:].mean(axis=0)  # Q and U hold half of E and of B each
        return np.sqrt([pixel_variance(cl) for cl in power])

    @cached_property
    def noise_cl(self) -> float:
        """The level of the noise spectrum, mean(noise_std²)·4π/npix, unit²."""
        return noise_power(self.noise_std, self.npix)

    @property
    def total_cl(self) -> FloatArray:
        """(lmax+1,) float: signal and noise power together, unit²."""
        return np.asarray(self.signal_cl + self.noise_cl)

    @cached_property
    def digest(self) -> str:
        """sha256 of what the model says (not of `source`), hex."""
        state = hashlib.sha256(f"{self.nside}".encode())
        state.update(self.signal_cl.tobytes())
        state.update(np.asarray(self.noise_std, dtype=np.float64).tobytes())
        for part in (self.noise_cov, self.colored_noise_cl):
            if part is not None:
                state.update(part.tobytes())
        return state.hexdigest()

    def to_arrays(self) -> tuple[dict[str, Any], dict[str, AnyArray]]:
        """Texts, and arrays that it can be made of again, by `of_arrays`."""
        said: dict[str, Any] = {}
        arrays: dict[str, AnyArray] = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, int | str):
                said[field.name] = value
            elif value is not None:
                arrays[field.name] = np.asarray(value)
        if self.noise_cov is not None:
            del arrays["noise_std"]  # it follows
        return said, arrays

    @classmethod
    def of_arrays(cls, said: Mapping[str, Any], arrays: Mapping[str, AnyArray]) -> Self:
        """The sky model of `to_arrays`."""
        own: dict[str, Any] = {n: array if array.ndim else float(array) for n, array in arrays.items()}
        return cls(**said, **own)

    @classmethod
    def from_theory(
        cls,
        cl: FloatArray,
        nside: int,
        *,
        fwhm: float | None = None,
        beam: FloatArray | None = None,
        noise_std: float | FloatArray = 0.0,
        noise_cov: FloatArray | None = None,
        colored_noise_cl: FloatArray | None = None,
        lmax: int | None = None,
        source: str | None = None,
    ) -> Self:
        """Make the model of a map from a sky spectrum, a beam and a noise level.

        Parameters
        ----------
        cl
            (n,) float, the sky's C_ell from ell = 0 (not D_ell), unit². Entries 0 and 1 are not used. Of T, Q, U (4, n)
            TT, EE, BB, TE or (6, n) with EB, TB; of Q, U (2, n) EE, BB or (3, n) with EB; or CAMB's columns (n, 4).
        nside
            Resolution of the map.
        fwhm
            Full width at half maximum of a Gaussian beam, radians. The pixel window is then included: real
            pixels average, and a model without it overfills holes by 9/22/42 % in power at ell = 1/1.5/2
            nside.
        beam
            (n,) float, b_ell from ell = 0 instead of `fwhm`; it holds the pixel window already if one is
            wanted. With neither, the pixel window alone is applied. Of T, Q, U also (2, n), of T and of E and B, or
            (3, n).
        noise_std
            White noise per pixel, scalar or (npix,) RING; of Q, U or T, Q, U a scalar for all, (k,) or (k, npix).
        noise_cov
            Instead of `noise_std`: (3, npix) QQ, QU, UU or (6, npix) II, IQ, IU, QQ, QU, UU.
        colored_noise_cl
            Power of colored noise beside the white, as it is in the map (no beam is applied), in the form of `cl`.
        lmax
            Highest multipole of the model. Default: the lowest (at most 3*nside-1) beyond which the signal
            left in the map is negligible: below a fifth of the noise or 0.3 % of the signal's rms, and at each
            multipole below a quarter of the noise.
        source
            Words for where the spectrum came from.

        Raises
        ------
        SpectrumError
            On spectra that no sky has (healpy's old order is named), a beam in the wrong unit or too short, both beams,
            noise of the wrong length.

        Warns
        -----
        CmbInpaintWarning
            If the spectrum ends before the power does; nothing is assumed beyond its end.
        """
        nside = validate_nside(nside)
        sky = validate_spectra(cl)
        if noise_cov is None:
            noise = validate_noise(noise_std, nside, sky.k)
        else:
            noise = noise_stds(validate_noise_cov(noise_cov, nside, sky.k))
        colored = None if colored_noise_cl is None else _validate_colored(colored_noise_cl, sky.fields)
        signal = map_signal(sky, nside, noise, fwhm=fwhm, beam=beam, lmax=lmax, colored=colored)
        part = None if colored is None else _to_length(colored.values, signal.shape[-1]).reshape(signal.shape)
        return cls(nside, signal, noise, source or "given cl", noise_cov, colored_noise_cl=part)

    def with_noise(self, noise_std: float | FloatArray) -> Self:
        """Return the same signal under another noise, as in `from_theory`."""
        noise = validate_noise(noise_std, self.nside, self.fields.n)
        prior = with_broad_prior(self.signal_cl, noise, self.nside)
        signal = self.signal_cl.copy()
        signal[..., :2] = np.maximum(signal[..., :2], prior[..., :2])
        return replace(self, signal_cl=signal, noise_std=noise, noise_cov=None)

    def scaled(self, factor: float) -> Self:
        """Return the model of the map times `factor` (a change of unit, say)."""
        if not np.isfinite(factor) or factor == 0:
            raise SpectrumError(f"factor is {factor!r}; a map can be scaled by a finite number other than 0")
        cov = None if self.noise_cov is None else self.noise_cov * factor**2
        colored = None if self.colored_noise_cl is None else self.colored_noise_cl * factor**2
        signal, noise = self.signal_cl * factor**2, self.noise_std * abs(factor)
        return replace(self, signal_cl=signal, noise_std=noise, noise_cov=cov, colored_noise_cl=colored)


def _validate_colored(colored: AnyArray, fields: Fields) -> EllMatrix:
    """The spectra of colored noise, of these Stokes parameters; nothing is said of monopole and dipole."""
    spectra = validate_spectra(colored, "colored_noise_cl")
    if spectra.fields is not fields:
        raise SpectrumError(
            f"colored_noise_cl has shape {np.shape(colored)}; expected the form of cl, of {', '.join(fields.stokes)}"
        )
    return spectra


def _part_of(colored: AnyArray, total: FloatArray) -> FloatArray:
    """The colored noise, refused where it is not a part of all that is correlated between pixels."""
    part = np.array(colored, dtype=np.float64)
    if part.shape != total.shape:
        raise SpectrumError(
            f"colored_noise_cl has shape {part.shape}, signal_cl, which includes it, {total.shape}; make the model "
            "with SkyModel.from_theory(colored_noise_cl=...)"
        )
    part[..., :2] = 0.0
    for matrix in (part, total - part):
        EllMatrix(matrix).cholesky()
    part.flags.writeable = False
    return part


def _to_length(values: FloatArray, size: int) -> FloatArray:
    """(..., size): cut, or with zeros after it; entries 0 and 1 are 0."""
    cut = values[..., :size]
    made = np.concatenate([cut, np.zeros((*cut.shape[:-1], size - cut.shape[-1]))], axis=-1)
    made[..., :2] = 0.0
    return made


def noise_stds(noise_cov: FloatArray) -> FloatArray:
    """(k, npix) standard deviations of a covariance in rows."""
    rows = [0, 2] if len(noise_cov) == 3 else [0, 3, 5]
    return np.sqrt(noise_cov[rows])
