"""Theory spectra: CAMB for any cosmology, and packaged tables for the fiducial one.

Inputs: a `Cosmology`. Outputs: C_ell in µK² from ell = 0.

CAMB is imported when `theory_spectra` is called; the fiducial ones need none.
"""

from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy.interpolate import CubicSpline

from cmbinpaint._types import FloatArray
from cmbinpaint.errors import SpectrumError, requires
from cmbinpaint.sims.fiducial_table import FIDUCIAL_DL
from cmbinpaint.sphere.power import validate_lmax

HIGHEST_TENSOR = 1000  # where tensor B is 1e-2 of lensing's for r = 1


@dataclass(frozen=True)
class Cosmology:
    """A flat ΛCDM cosmology; defaults of Planck 2018 (arXiv 1807.06209, table 2, TT,TE,EE+lowE+lensing).

    Parameters
    ----------
    H0
        Hubble constant, km/s/Mpc.
    ombh2, omch2
        Physical densities of baryons and cold dark matter.
    tau
        Optical depth of reionization.
    ns, As
        Index and amplitude of the scalar power spectrum at 0.05/Mpc.
    mnu
        Sum of the neutrino masses, eV.

    Raises
    ------
    SpectrumError
        If a parameter is not a number, or no universe has it.
    """

    H0: float = 67.36
    ombh2: float = 0.02237
    omch2: float = 0.1200
    tau: float = 0.0544
    ns: float = 0.9649
    As: float = 2.1e-9
    mnu: float = 0.06

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            low, high = _LIMITS[field.name]
            if not isinstance(value, int | float | np.number) or not low <= float(value) <= high:
                raise SpectrumError(
                    f"{field.name} is {value!r}; expected a number from {low:g} to {high:g} "
                    f"(Planck 2018: {field.default:g})"
                )
            object.__setattr__(self, field.name, float(value))


# What CAMB can compute without a flag; an As of 2.1 (given without its 1e-9) or an H0 of 0.67 falls outside.
_LIMITS = {
    "H0": (20.0, 150.0),
    "ombh2": (1e-3, 0.2),
    "omch2": (0.0, 1.0),
    "tau": (0.0, 0.5),
    "ns": (-1.0, 3.0),
    "As": (1e-11, 1e-7),
    "mnu": (0.0, 5.0),
}


def theory_spectra(
    cosmology: Cosmology | None = None, *, lmax: int = 3000, lensed: bool = True, r: float = 0.0
) -> FloatArray:
    """Compute the power spectra of a cosmology with CAMB.

    Parameters
    ----------
    cosmology
        Default: Planck 2018.
    lmax
        Highest multipole, 2 to 10000.
    lensed
        Whether the spectra are lensed, as the sky's are.
    r
        Tensor-to-scalar ratio at 0.05/Mpc; above 0 adds the spectra of scale-invariant (n_t = 0) tensor modes up to
        ell = 1000, where their B is far below lensing's. They are not lensed.

    Returns
    -------
    ndarray
        (4, lmax+1) float64: TT, EE, BB, TE as C_ell (not D_ell) in µK², 0 at ell = 0 and 1.

    Raises
    ------
    SpectrumError
        If lmax or r is out of range.
    MissingExtraError
        If CAMB is not installed.

    Notes
    -----
    Lensing moves power from all scales to all. With what is left out above `lmax`, TT is within 1e-3 of its limit
    up to ell = 3000 and within 1 % up to 6000; BB, which lensing alone makes, is 3 % low at lmax = 300, 0.4 % at 2000.

    References
    ----------
    Lewis, Challinor & Lasenby 2000, arXiv astro-ph/9911177.
    """
    lmax, r = validate_lmax(lmax, 10_000, lowest=2), _validate_r(r)
    requires("theory")
    import camb

    chosen = Cosmology() if cosmology is None else cosmology
    parameters = camb.CAMBparams()
    given = asdict(chosen)
    parameters.set_cosmology(**{name: given[name] for name in ("H0", "ombh2", "omch2", "tau", "mnu")})
    parameters.InitPower.set_params(As=chosen.As, ns=chosen.ns)
    # CAMB lenses the last multipoles too little (by 0.6 % at 300), so it computes more of them. Accuracy 1 leaves
    # out the small scales of the lensing potential, which is 0.4 % of TT at ell = 3000 and 20 % at 5000.
    accuracy = (4 if lmax > 2000 else 1) if lensed else 0
    parameters.set_for_lmax(lmax + 300, lens_potential_accuracy=accuracy)
    parameters.DoLensing = lensed
    results = camb.get_results(parameters)
    spectra = results.get_lensed_scalar_cls if lensed else results.get_unlensed_scalar_cls
    cl = np.array(spectra(lmax=lmax, CMB_unit="muK", raw_cl=True).T, dtype=np.float64)
    cl[:, :2] = 0.0
    if r:
        _add(cl, _tensor_spectra(parameters, r))
    return cl


def _tensor_spectra(parameters: Any, r: float) -> FloatArray:
    """(4, 1001) C_ell of tensor modes alone in CAMB's cosmology, µK²."""
    import camb

    tensor = parameters.copy()
    tensor.WantScalars, tensor.WantTensors, tensor.DoLensing = False, True, False
    tensor.InitPower.set_params(As=parameters.InitPower.As, ns=parameters.InitPower.ns, r=r, nt=0.0)
    # With ell and k to half as much again and accuracy 2, BB is the same within 0.8 % from ell = 2 to 600.
    tensor.max_l = tensor.max_l_tensor = HIGHEST_TENSOR
    tensor.max_eta_k_tensor = 3 * HIGHEST_TENSOR
    results = camb.get_results(tensor)
    cl = np.array(
        results.get_tensor_cls(lmax=HIGHEST_TENSOR, CMB_unit="muK", raw_cl=True).T, dtype=np.float64
    )
    cl[:, :2] = 0.0
    return cl


def _add(cl: FloatArray, tensor: FloatArray) -> None:
    """Add tensor spectra, which end, to scalar ones in place."""
    common = min(cl.shape[1], tensor.shape[1])
    cl[:, :common] += tensor[:, :common]


def _validate_r(r: float) -> float:
    if isinstance(r, bool) or not isinstance(r, int | float | np.number) or not 0 <= float(r) <= 10:
        raise SpectrumError(f"r is {r!r}; expected a tensor-to-scalar ratio, a number from 0 to 10")
    return float(r)


def theory_cl(cosmology: Cosmology | None = None, *, lmax: int = 3000, lensed: bool = True) -> FloatArray:
    """Compute the temperature power spectrum of a cosmology with CAMB: `theory_spectra`'s first row, (lmax+1,).

    Parameters
    ----------
    cosmology, lmax, lensed
        As for `theory_spectra`.

    Returns
    -------
    ndarray
        (lmax+1,) float64: C_ell (not D_ell) in µK², 0 at ell = 0 and 1.

    Raises
    ------
    SpectrumError, MissingExtraError
        As `theory_spectra` does.
    """
    return theory_spectra(cosmology, lmax=lmax, lensed=lensed)[0]


def fiducial_spectra(lmax: int, *, r: float = 0.0) -> FloatArray:
    """Return the lensed spectra of `Cosmology()` as CAMB computed them, without CAMB.

    Parameters
    ----------
    lmax
        Highest multipole, 2 to 6200 (3*nside-1 is 6143 at nside 2048).
    r
        Tensor-to-scalar ratio, as in `theory_spectra`.

    Returns
    -------
    ndarray
        (4, lmax+1) float64: TT, EE, BB, TE as C_ell in µK², the first of `theory_spectra(lmax=8000)`; 0 at
        ell = 0 and 1.

    Raises
    ------
    SpectrumError
        If lmax or r is out of range.
    """
    table = _fiducial_table("dl")
    lmax, r = validate_lmax(lmax, table.shape[1] - 1, lowest=2), _validate_r(r)
    cl = table[:, : lmax + 1].copy()
    if r:
        _add(cl, r * _fiducial_table("tensor_dl"))
    return cl


def fiducial_cl(lmax: int) -> FloatArray:
    """Return the lensed temperature spectrum of `Cosmology()`, smooth and to any ell, without running CAMB.

    This is what a map's spectrum is estimated against. The table of `fiducial_spectra` is nearer to CAMB.

    Parameters
    ----------
    lmax
        Highest multipole. Above 6200 D_ell goes on as a power law.

    Returns
    -------
    ndarray
        (lmax+1,) float64: C_ell in µK², 0 at ell = 0 and 1; within 1e-3 of `fiducial_spectra` up to ell = 2000, 0.5 %
        lower at 3000 and 20 % at 5000, where it lacks the lensing by small scales.

    Raises
    ------
    SpectrumError
        If lmax is below 2.
    """
    lmax = validate_lmax(lmax, 100_000, lowest=2)
    ell = np.arange(2, lmax + 1, dtype=np.float64)
    knots, log_dl = _fiducial_knots()
    spline = CubicSpline(np.log(knots), log_dl)
    x = np.log(ell)
    last = np.log(knots[-1])
    inside = np.minimum(x, last)
    log_d = spline(inside) + (x - inside) * float(spline(last, 1))
    cl = np.zeros(lmax + 1)
    cl[2:] = np.exp(log_d) * 2 * np.pi / (ell * (ell + 1))
    return cl


@cache
def _fiducial_table(name: str) -> FloatArray:
    """Return (4, 6201) C_ell "dl", or (4, 1001) "tensor_dl" of r = 1; the file holds D_ell in single precision."""
    with np.load(Path(__file__).with_name("fiducial_spectra.npz")) as stored:
        dl = stored[name].astype(np.float64)
    ell = np.arange(dl.shape[1], dtype=np.float64)
    return dl * 2 * np.pi / np.maximum(ell * (ell + 1), 1.0)


@cache
def _fiducial_knots() -> tuple[FloatArray, FloatArray]:
    """Return ell and ln D_ell of the table."""
    ell, dl = np.array(FIDUCIAL_DL).T
    return ell, np.log(dl)
