"""What the user of a command knows of the sky: its spectrum, the beam, the noise.

Inputs: the arguments declared here. Outputs: arguments of `inpaint_map`, in µK.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cmbinpaint.commands import _common as common
from cmbinpaint.errors import CmbInpaintError, FitsError, MapError

if TYPE_CHECKING:
    from cmbinpaint._types import AnyArray, FloatArray
    from cmbinpaint.files.fits import MapInfo

# What else changes the fill, beside the files.
OPTIONS = ("fwhm_arcmin", "cl_kind", "cl_unit", "noise_field", "hits_field", "noise_level")


def add_sky_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the user knows of the sky."""
    add = parser.add_argument_group(
        "what is known of the sky (estimated from the map otherwise)"
    ).add_argument
    add("--cl", metavar="FILE", type=Path, help="theory C_ell of the sky, lensed, in µK², from ell 0")
    add_spectrum_arguments(add)
    add("--fwhm-arcmin", metavar="X", type=common.positive_float, help="Gaussian beam; only with --cl")
    add("--noise-std", metavar="X|FILE", help="white noise per pixel in µK, or a FITS map of it")
    add("--noise-field", metavar="NAME", type=common.column, help="its column; default the first")
    add("--hits", metavar="FILE", type=Path, help="FITS map of observations per pixel; with --noise-level")
    add(
        "--hits-field", metavar="NAME", type=common.column, help="its column, in the file of --hits or in MAP"
    )
    add("--noise-level", metavar="X", type=common.positive_float,
        help="µK of one observation: a pixel's noise is X / sqrt(hits)")  # fmt: skip


def add_spectrum_arguments(add: Any) -> None:
    """Declare what a spectrum's file holds, where it does not say so itself."""
    add("--cl-kind", choices=["cl", "dl"], help="declares what --cl holds, where the file does not say")
    add("--cl-unit", metavar="U", help="declares its unit: uK^2, K^2, dimensionless; it is converted")


def known_of_sky(args: argparse.Namespace, info: "MapInfo") -> dict[str, Any]:
    """Return what the user knows of the sky that `info`'s map shows."""
    _refuse_contradictions(args)
    known: dict[str, Any] = {}
    if args.cl is not None:
        known["cl"] = read_spectrum(args)
    if args.fwhm_arcmin is not None:
        import numpy as np

        known["fwhm"] = float(np.radians(args.fwhm_arcmin / 60))
    if args.noise_level is not None:
        known["noise_std"] = _noise_of_hits(args, info)
    elif args.noise_std is not None:
        known["noise_std"] = _noise(args, info)
    return known


def read_spectrum(args: argparse.Namespace) -> "FloatArray":
    """Return C_ell of the file of `--cl`, in µK²."""
    from cmbinpaint.files.spectrum_files import read_cl

    return read_cl(args.cl, kind=args.cl_kind or "auto", unit=args.cl_unit)


def _refuse_contradictions(args: argparse.Namespace) -> None:
    for option in ("fwhm_arcmin", "cl_kind", "cl_unit"):
        if getattr(args, option) is not None and args.cl is None:
            raise CmbInpaintError(
                f"--{option.replace('_', '-')} says what the spectrum of --cl is, and --cl is not given; without one "
                "spectrum and beam are estimated from the map"
            )
    hits = args.hits is not None or args.hits_field is not None
    if hits and args.noise_std is not None:
        raise CmbInpaintError("--hits and --noise-std both say what the noise is; give one of them")
    if hits and args.noise_level is None:
        raise CmbInpaintError("--hits needs --noise-level X, the noise of one observation in µK")
    if args.noise_level is not None and not hits:
        raise CmbInpaintError("--noise-level is that of one observation; give --hits FILE, or --noise-std")
    if args.noise_field is not None and args.noise_std is None:
        raise CmbInpaintError("--noise-field names a column of --noise-std FILE, which is not given")


def _noise(args: argparse.Namespace, info: "MapInfo") -> "float | FloatArray":
    """Return `--noise-std` in µK: a number, or (npix,) RING, NaN where the file says nothing."""
    try:
        return common.natural_float(args.noise_std)
    except argparse.ArgumentTypeError as error:
        if not Path(args.noise_std).exists():
            raise FitsError(f"--noise-std: {error} in µK, or a FITS file; there is no such file") from None
    path = Path(args.noise_std)
    noise, own = _read(args, path, info, args.noise_field or 0)
    return noise * common.microkelvin(f"the noise map {path}", own.unit)


def _noise_of_hits(args: argparse.Namespace, info: "MapInfo") -> "FloatArray":
    """Return (npix,) RING, µK, infinite where nothing was observed."""
    import numpy as np

    hits, _ = _read(args, args.hits or args.map, info, args.hits_field or 0)
    if np.any(hits < 0):
        raise MapError(f"--hits holds {int(np.count_nonzero(hits < 0))} negative numbers of observations")
    with np.errstate(divide="ignore"):
        return np.asarray(args.noise_level / np.sqrt(hits))


def _read(
    args: argparse.Namespace, path: Path, info: "MapInfo", field: int | str
) -> "tuple[AnyArray, MapInfo]":
    """Read a map that belongs to MAP: (npix,) float64, RING, NaN where it has no value."""
    import warnings

    import numpy as np

    from cmbinpaint.errors import CmbInpaintWarning
    from cmbinpaint.files import fits
    from cmbinpaint.sphere.maps import is_unseen

    own = path == args.map
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "column .* has no TUNIT", CmbInpaintWarning)
        values, found = fits.read_map(
            path, field, hdu=args.hdu if own else 1, ordering=args.ordering if own else None,
            max_memory=args.max_memory, same_frame_as=info,
        )  # fmt: skip
    if found.nside != info.nside:
        raise MapError(
            f"{path} has nside {found.nside}, {info.path} has nside {info.nside}; they must be equal"
        )
    values = values.astype(np.float64)
    return np.where(is_unseen(values), np.nan, values), found
