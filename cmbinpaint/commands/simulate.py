"""`cmbinpaint simulate`: one simulated sky in a FITS file.

Inputs: resolution, spectrum, beam, noise, seed. Outputs: a HEALPix file with its history.
"""

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cmbinpaint.commands import _common as common
from cmbinpaint.commands import _outputs as outputs
from cmbinpaint.errors import CmbInpaintError, SpectrumError

if TYPE_CHECKING:
    from cmbinpaint._types import AnyArray, FloatArray
    from cmbinpaint.sphere.fields import Fields

_STOKES = ("I_STOKES", "Q_STOKES", "U_STOKES")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `simulate`."""
    parser.add_argument(
        "-o", "--output", metavar="OUT", required=True, help="FITS file to write, or FOLDER/ (sky.fits in it)"
    )
    parser.add_argument("--nside", metavar="N", type=common.positive_int, default=256, help="default 256")
    parser.add_argument(
        "--fields", choices=["T", "QU", "TQU"], default="T", help="Stokes parameters; default T"
    )
    parser.add_argument("--cl", metavar="FILE", type=Path,
        help="C_ell in µK² from ell 0 (for Q and U TT, EE, BB, TE); default: Planck 2018's, packaged")  # fmt: skip
    parser.add_argument("--lmax", metavar="L", type=common.positive_int, help="default 3*nside-1")
    parser.add_argument(
        "--fwhm-arcmin", metavar="X", type=common.natural_float, help="Gaussian beam; default none"
    )
    parser.add_argument(
        "--noise-std",
        metavar="X|FILE",
        default="0",
        help="white noise per pixel in µK, or a map of it; of T, Q, U one for all, X,Y for T and polarization, or "
        "three; default 0",
    )
    parser.add_argument("--pixwin", action="store_true", help="let pixels average: apply the pixel window")
    parser.add_argument(
        "--holes",
        choices=common.HOLES,
        help="hide pixels (UNSEEN): a Planck-like mask, or round holes 5 to 65 px wide; default: the whole sky",
    )
    parser.add_argument(
        "--unit", default="K_CMB", metavar="U", help="of the file: K_CMB (default), mK_CMB, uK_CMB"
    )
    parser.add_argument(
        "--ordering", choices=["RING", "NESTED"], default="RING", help="of the file; default RING"
    )
    parser.add_argument("--column", metavar="NAMES", help="default I_STOKES, Q_STOKES and U_STOKES")
    parser.add_argument(
        "--seed", type=common.natural, metavar="S", help="default: a fresh one, which is recorded"
    )
    common.add_max_memory(parser.add_argument)
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it exists")


def run(args: argparse.Namespace) -> int:
    """Simulate one sky and write it."""
    output = outputs.output_file(args.output, "sky.fits")
    outputs.refuse_outputs(args, [output], overwrite=args.overwrite)
    import numpy as np

    from cmbinpaint.files import fits
    from cmbinpaint.sims import simulate_sky
    from cmbinpaint.sphere.fields import Fields
    from cmbinpaint.sphere.maps import UNSEEN, validate_nside
    from cmbinpaint.sphere.units import parse_unit, unit_factor

    nside, fields = validate_nside(args.nside), Fields(args.fields)
    column = _names(args.column, fields)
    lmax = args.lmax or 3 * nside - 1
    unit = parse_unit(args.unit)
    seed = common.fresh_seed() if args.seed is None else args.seed
    cl = spectra(args.cl, lmax, fields)
    noise = common.read_noise(
        args.noise_std, fields, partial(_noise_maps, fields=fields, max_memory=args.max_memory)
    )
    fwhm = None if args.fwhm_arcmin is None else float(np.radians(args.fwhm_arcmin / 60))
    with common.stage("simulate"):
        sky = simulate_sky(cl, nside, fwhm=fwhm, noise_std=noise, pixwin=args.pixwin, lmax=lmax, seed=seed)
    hidden = None if args.holes is None else ~common.drawn_mask(args.holes, nside)
    cards, history = common.provenance_of(args.argv)
    cards |= _cards(args, seed, lmax)
    if fields is not Fields.T:
        cards["POLCCONV"] = ("COSMO", "Polarization convention")
    written = (sky * unit_factor("uK_CMB", unit)).astype(np.float32)
    if hidden is not None:
        written[..., hidden] = UNSEEN
    fits.write_map(
        output,
        written,
        unit=unit,
        column=column,
        ordering=args.ordering,
        coord="G",
        overwrite=args.overwrite,
        provenance=cards,
        history=history,
    )
    rms = ", ".join(f"{value:.4g}" for value in np.std(np.atleast_2d(sky), axis=-1))
    share = "" if hidden is None else f", {np.mean(hidden):.1%} of the pixels hidden"
    print(f"{output}: nside {nside}, {args.ordering}, {unit}, seed {seed}, rms {rms} µK{share}")
    return 0


def spectra(path: Path | None, lmax: int, fields: "Fields") -> "FloatArray":
    """Return C_ell in µK² from a file, or the packaged ones of Planck 2018: of T alone (lmax+1,)."""
    if path is None:
        from cmbinpaint.problem.problem import spectra_of
        from cmbinpaint.sims import fiducial_spectra

        try:
            return spectra_of(fiducial_spectra(lmax), fields)
        except SpectrumError as error:
            raise SpectrumError(f"{error}; give a lower --lmax, or --cl") from None
    from cmbinpaint.files.spectrum_files import read_cl

    return read_cl(path, fields=fields.value)


def _names(text: str | None, fields: "Fields") -> str | tuple[str, ...]:
    """Return the column, or the columns of Q, U or T, Q, U."""
    named = None if text is None else tuple(name.strip() for name in text.split(","))
    names = named or {"T": ("I_STOKES",), "QU": _STOKES[1:], "TQU": _STOKES}[fields.value]
    if len(names) != fields.n:
        raise CmbInpaintError(
            f"--column {text} names {len(names)} columns, --fields {fields.value} has {fields.n}"
        )
    return names if fields.n > 1 else names[0]


def _noise_maps(path: Path, fields: "Fields", max_memory: int | None) -> "tuple[AnyArray, str | None]":
    """Return (n, npix) the maps of a noise file, and their unit."""
    import numpy as np

    from cmbinpaint.files import fits

    noise, info = fits.read_map(path, 0 if fields.n == 1 else fields.value, max_memory=max_memory)
    return np.atleast_2d(noise), info.unit


def _cards(args: argparse.Namespace, seed: int, lmax: int) -> dict[str, Any]:
    source = "CAMB, Planck 2018" if args.cl is None else args.cl.name
    return {
        "SEED": (seed, "of the simulation"),
        "CLSOURCE": (source, "spectrum of the sky"),
        "LMAX": (lmax, "highest multipole"),
        "FWHM": (args.fwhm_arcmin or 0.0, "[arcmin] Gaussian beam"),
        "NOISESTD": (args.noise_std, "[uK] white noise per pixel, or its map"),
        "PIXWIN": (bool(args.pixwin), "whether the pixel window is applied"),
    }
