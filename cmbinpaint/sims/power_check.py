"""Does a given sky model have the power that the map shows? A spectrum in another unit or shape is named.

Inputs: a map with holes, a `SkyModel`. Outputs: an error or a warning, or nothing.

The pseudo-spectrum of the observed pixels, less the model's noise, is held against the model's signal seen through
the mask (`spectra.mode_coupling`), in bands of some hundred modes each. A band can only be judged if its power is no
noise, whatever the model says of it: if it stands out above what neighboring pixels and the quietest band leave room
for. A signal that exceeds all the power there is, is wrong in any band.
"""

import warnings
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from cmbinpaint._types import BoolArray, FloatArray
from cmbinpaint.errors import CmbInpaintWarning, SpectrumError
from cmbinpaint.sims.sky_model import SkyModel
from cmbinpaint.spectra.bandpowers import Bandpowers
from cmbinpaint.spectra.full_sky import cl_from_dl
from cmbinpaint.spectra.mode_coupling import coupling_matrix
from cmbinpaint.sphere.harmonics import Harmonics, alm_to_cl
from cmbinpaint.sphere.pixels import nest_to_ring
from cmbinpaint.sphere.power import noise_power
from cmbinpaint.sphere.units import power_factor

FACTOR = 2.0
HIGHEST_ELL = 128  # higher ones cost time and say little more about units and shapes
MODES = 150  # of a band: its power is then known to 12 %
FEWEST_MODES = 32  # of a band that decides for an error
SIGMAS = 4.0  # of a band's power, on top of the factor
NO_NOISE = 3.0  # times the highest level that noise can have
_BLOCKS = 40_000  # of four sibling pixels, for the level of the noise

_DL = "it looks to be D_ell = ell (ell + 1) C_ell / 2π"
# What a factor on the model's power says.
_FACTORS = {
    "its spectrum looks to be in K²": power_factor("K_CMB"),
    "its spectrum looks to be in mK²": power_factor("mK_CMB"),
    "its spectrum looks to be dimensionless, without T_CMB² = (2.7255e6 µK)²": power_factor("dimensionless"),
    "the map looks to be in K, not µK": 1 / power_factor("K_CMB"),
    "the map looks to be in mK, not µK": 1 / power_factor("mK_CMB"),
}
_NEAR = np.log(1.6)  # a factor that is so near to one of these is this one
_REMEDY = "C_ell of the sky in µK² from ell = 0 is expected (read_cl converts files), and unit= says what the map is in"


def check_power(observed: FloatArray, valid: BoolArray, sky_model: SkyModel, unit: str | None = None) -> None:
    """Refuse a sky model whose signal is a factor of 2 off the power of the observed pixels.

    Parameters
    ----------
    observed
        (npix,) RING, without monopole and dipole, or (2, npix) Q, U, whose E and B power together is compared; never
        read where not valid.
    valid
        Bool, RING, of the same shape; True where observed.
    sky_model
        In the same unit, of T or of Q and U.
    unit
        The unit's name, for messages.

    Raises
    ------
    SpectrumError
        If a band's signal, or that of all bands, is a factor of 2 and four standard deviations off; the message names
        what it looks like.

    Warns
    -----
    CmbInpaintWarning
        Instead, where too little sky is observed to be certain, or where only the noise tells.
    """
    bands = _measure(observed, valid, sky_model)
    if bands is None or not bands.wrong.any():
        return
    what, of = f"{bands.evidence(unit)}: {bands.likeness()}", "the map" if observed.ndim == 1 else "Q and U"
    if (bands.wrong & bands.certain).any():
        raise SpectrumError(f"the sky model does not fit {of}: {what}. {_REMEDY}")
    why = "noise dominates" if bands.many.any() else "little sky is observed"
    warnings.warn(
        f"the sky model may not fit {of} ({why}, so it is not certain): {what}. {_REMEDY}",
        CmbInpaintWarning,
        stacklevel=3,
    )


@dataclass(frozen=True, eq=False)
class _Bands:
    """Power in bands: (n,) arrays of what the map has and what the model says of it, through the mask.

    `clear`: where the map's power is no noise. `scatter`: of its power, relative. `signal_if_dl`: `signal`, were the
    spectrum a D_ell.
    """

    bands: Bandpowers
    power: FloatArray
    signal: FloatArray
    noise: float
    scatter: FloatArray
    clear: BoolArray
    signal_if_dl: FloatArray

    @cached_property
    def excess(self) -> FloatArray:
        """Log of the map's power without noise over the model's."""
        return self._excess(self.signal)

    def _excess(self, signal: FloatArray) -> FloatArray:
        left = np.maximum(self.power - self.noise, 0.05 * self.power)
        # Noise far above all the power there is, is given in another unit, as the spectrum is.
        return np.log(np.where(self.noise > 10 * self.power, self.power, left) / signal)

    @cached_property
    def many(self) -> BoolArray:
        """Where there are modes enough to decide."""
        return self.scatter <= np.sqrt(2 / FEWEST_MODES)

    @cached_property
    def wrong(self) -> BoolArray:
        """Where the signal is too low for the power that is there, or too high for it or for all of it."""
        margin = np.exp(SIGMAS * self.scatter)
        too_low = self.power > (FACTOR * self.signal + self.noise) * margin
        too_high = self.signal > FACTOR * self.power * margin
        below = self.clear & (self.power - self.noise < self.signal / FACTOR / margin)
        wrong = (too_low & (self.clear | (self.noise > 0))) | too_high | below
        if self.clear.any():
            weight = np.where(self.clear, self.scatter**-2, 0.0)
            together = np.average(self.excess, weights=weight)
            if abs(together) > np.log(FACTOR) + SIGMAS / np.sqrt(weight.sum()):
                wrong |= self.clear & (self.excess * together > 0)
        return wrong

    @cached_property
    def certain(self) -> BoolArray:
        """Where a verdict is an error: modes enough, and signal or too much of it."""
        return self.many & (self.clear | (self.signal > self.power))

    def evidence(self, unit: str | None) -> str:
        """The worst band in words."""
        i = int(np.argmax(np.where(self.wrong, np.abs(self.excess), -1.0)))
        low, high = int(self.bands.edges[i]), int(self.bands.edges[i + 1]) - 1
        ells = f"{low} to {high}" if low < high else str(low)
        return (
            f"at ell = {ells} the observed pixels have {np.exp(self.excess[i]):.2g} times the model's "
            f"power ({unit or 'the unit of the map'} assumed for both)"
        )

    def likeness(self) -> str:
        """What the model or the map looks like: another unit or shape, a beam, or something else."""
        used = self.clear if self.clear.any() else np.ones(self.clear.size, dtype=bool)
        near = _NEAR + 2 * self.scatter[used]
        plain, from_dl = self.excess[used], self._excess(self.signal_if_dl)[used]
        # A shape shows in several bands only, and has to make them more alike.
        shaped = plain.size > 1 and np.ptp(from_dl) < np.ptp(plain)
        for excess, words in ((plain, []), (from_dl, [_DL]))[: 1 + shaped]:
            off = {name: float(np.max(np.abs(excess - np.log(f)) / near)) for name, f in _FACTORS.items()}
            off[""] = float(np.max(np.abs(excess) / near)) if words else np.inf
            name = min(off, key=off.__getitem__)
            if off[name] < 1.0:
                return ", and ".join(filter(None, [name, *words]))
        return self._beam_or_factor(plain, self.bands.centers[used])

    def _beam_or_factor(self, excess: FloatArray, centers: FloatArray) -> str:
        if np.ptp(excess) < 2 * _NEAR:
            level = np.exp(np.median(excess))
            if max(level, 1 / level) < FACTOR and not (self.wrong & self.clear).any():
                return "another noise than is assumed, or foregrounds in the map"
            doubt = f" (or {_DL})" if excess.size == 1 and level < 1 else ""
            return f"it is about {max(level, 1 / level):.2g} times too {'small' if level > 1 else 'large'}{doubt}"
        resolved = excess > -3.0  # beyond, the mask's leakage hides a beam
        excess, centers = excess[resolved], centers[resolved]
        if excess.size > 2:
            slope, level = np.polyfit(centers * (centers + 1), excess, 1)
            rest = excess - level - slope * centers * (centers + 1)
            if np.abs(rest).max() < _NEAR and abs(level) < np.log(FACTOR) and slope < 0:
                fwhm = 60 * np.degrees(np.sqrt(-slope * 8 * np.log(2)))
                return f"the map looks to be convolved with a further beam of {fwhm:.0f}': give fwhm or beam"
        return "another cosmology, beam or noise, or foregrounds in the map"


def _measure(observed: FloatArray, valid: BoolArray, sky_model: SkyModel) -> _Bands | None:
    """Measure the power of the map in bands; None if it holds too few modes for one."""
    rows, here = np.atleast_2d(observed), np.atleast_2d(valid)[-1]
    nside, npix, fsky = sky_model.nside, here.size, float(np.mean(here))
    lmax = min(2 * nside, HIGHEST_ELL, sky_model.lmax)
    # Monopole and dipole that are fitted to a patch take its longest waves along.
    bands = _bands(int(np.ceil(3 / np.sqrt(fsky))), lmax, fsky)
    if bands is None:
        return None
    # Of Q and U the power of E and B together: that is mixed among multipoles, not among modes.
    spins, modes = (
        ((0, 0), [sky_model.signal_cl]) if len(rows) == 1 else ((2, 2), np.diagonal(sky_model.signal_cl).T)
    )
    seen = np.where(here, rows - (np.mean(rows[:, here]) if len(rows) == 1 else 0.0), 0.0)
    alm = Harmonics(nside, lmax).adjoint(seen) * (4 * np.pi / npix)
    cl = np.sum([alm_to_cl(row, lmax) for row in alm], axis=0)
    power = np.maximum(bands.bin(cl), 1e-300)
    signal = np.sum([mode[: lmax + 1] for mode in modes], axis=0)
    signal[:2] = 0.0
    variance = np.broadcast_to(np.square(sky_model.noise_std).reshape(len(rows), -1), rows.shape).sum(axis=0)
    rough = np.sqrt(np.sum([_roughness(row, here, nside) ** 2 for row in rows]))
    most = min(noise_power(rough, npix) * fsky, float(power.min()))
    coupling = coupling_matrix(here, lmax, spins=spins).reshape(-1, lmax + 1, lmax + 1).sum(axis=0)
    noise = 4 * np.pi / npix**2 * float(np.sum(variance, where=here))
    # E of a wide band is that of its lowest multipoles: there are fewer modes than there seem.
    total = signal + noise / fsky
    alike = 1.0 if len(rows) == 1 else bands.bin(total) ** 2 / np.maximum(bands.bin(total**2), 1e-300)
    seen_signal, seen_if_dl = (
        np.maximum(bands.bin(coupling @ cl), 1e-300) for cl in (signal, cl_from_dl(signal))
    )
    return _Bands(
        bands=bands,
        power=power,
        signal=seen_signal,
        signal_if_dl=seen_if_dl,
        noise=noise,
        scatter=np.sqrt(2 / (bands.n_modes * alike * fsky)),
        clear=power > NO_NOISE * most,
    )


def _bands(lowest: int, lmax: int, fsky: float) -> Bandpowers | None:
    """Return bands of at least `MODES` modes of the observed sky each; what is left over joins the last."""
    if lmax < lowest:
        return None
    edges, modes = [lowest], 0.0
    for ell in range(lowest, lmax + 1):
        modes += (2 * ell + 1) * fsky
        if modes >= MODES:
            edges.append(ell + 1)
            modes = 0.0
    edges[max(1, len(edges) - 1) :] = [lmax + 1]
    return Bandpowers(np.array(edges))


def _roughness(observed: FloatArray, valid: BoolArray, nside: int) -> float:
    """Return the rms within blocks of four sibling pixels: that of white noise, and of some of the signal."""
    if nside == 1:
        return np.inf
    blocks = np.unique(np.linspace(0, valid.size // 4 - 1, _BLOCKS).astype(np.int64))
    children = nest_to_ring(nside, 4 * blocks[:, None] + np.arange(4))
    children = children[valid[children].all(axis=1)]
    return float(np.sqrt(np.var(observed[children], axis=1, ddof=1).mean())) if len(children) else np.inf
