"""What the user of a command knows of the sky: its spectrum, the beam, the noise.

Inputs: the arguments declared here. Outputs: arguments of `inpaint_map`, in µK.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cmbinpaint.commands import _common as common
from cmbinpaint.errors import CmbInpaintError, MapError, UnitsError

if TYPE_CHECKING:
    from cmbinpaint._types import AnyArray, BoolArray, FloatArray
    from cmbinpaint.files.fits import MapInfo
    from cmbinpaint.sphere.fields import Fields

# What else changes the fill, beside the files.
OPTIONS = (
    "fwhm_arcmin", "cl_kind", "cl_unit", "noise_field", "noise_cov_field", "hits_field", "noise_level", "polconv",
)  # fmt: skip


# Options that say what the noise is.
NOISE_OPTIONS = (
    "noise_std", "noise_field", "noise_cov", "noise_cov_field", "hits", "hits_field", "noise_level",
)  # fmt: skip


def add_sky_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the user knows of the sky."""
    add = parser.add_argument_group(
        "what is known of the sky (estimated from the map otherwise)"
    ).add_argument
    add("--cl", metavar="FILE", type=Path, help="theory C_ell of the sky, lensed, in µK², from ell 0; for Q and U "
        "TT, EE, BB, TE")  # fmt: skip
    add_spectrum_arguments(add)
    add("--fwhm-arcmin", metavar="X", type=common.positive_float, help="Gaussian beam; only with --cl")
    add("--noise-std", metavar="X|FILE", help="white noise per pixel in µK, or a FITS map of it; of T, Q, U one for "
        "all, X,Y for T and polarization, or three; without it estimated, with --cl too; 0: none")  # fmt: skip
    add("--noise-field", metavar="NAMES", type=common.columns, help="its column or columns; default by name, or "
        "the first")  # fmt: skip
    add("--noise-cov", metavar="FILE", type=Path, help="FITS file, MAP's own perhaps, of noise covariances: II_COV, "
        "IQ_COV, IU_COV, QQ_COV, QU_COV, UU_COV")  # fmt: skip
    add("--noise-cov-field", metavar="NAMES", type=common.columns, help="these columns, in this order, if their "
        "names are others")  # fmt: skip
    add("--colored-noise", metavar="FILE", type=Path, help="C_ell of colored noise beside the white, as it is in the "
        "map; with --cl, and read as its file is")  # fmt: skip
    add("--hits", metavar="FILE", type=Path, help="FITS map of observations per pixel; with --noise-level")
    add(
        "--hits-field", metavar="NAME", type=common.column, help="its column, in the file of --hits or in MAP"
    )
    add("--noise-level", metavar="X", type=common.levels,
        help="µK of one observation: a pixel's noise is X / sqrt(hits); of T, Q, U as --noise-std")  # fmt: skip


def add_spectrum_arguments(add: Any) -> None:
    """Declare what a spectrum's file holds, where it does not say so itself."""
    add("--cl-kind", choices=["cl", "dl"], help="declares what --cl holds, where the file does not say")
    add("--cl-unit", metavar="U", help="declares its unit: uK^2, K^2, dimensionless; it is converted")


def says_of_sky(args: argparse.Namespace) -> bool:
    """Whether any option says something of the sky."""
    return any(value is not None for value in (args.cl, args.noise_std, args.noise_cov, args.noise_level))


def known_of_sky(args: argparse.Namespace, info: "MapInfo") -> dict[str, Any]:
    """Return what the user knows of the sky that `info`'s map shows."""
    _refuse_contradictions(args)
    known: dict[str, Any] = {}
    if args.cl is not None:
        known["cl"] = read_spectrum(args, args.cl, info.fields)
    if args.colored_noise is not None:
        known["colored_noise_cl"] = read_spectrum(args, args.colored_noise, info.fields)
    if args.fwhm_arcmin is not None:
        import numpy as np

        known["fwhm"] = float(np.radians(args.fwhm_arcmin / 60))
    if args.noise_level is not None:
        known["noise_std"] = _noise_of_hits(args, info)
    elif args.noise_std is not None:
        known["noise_std"] = common.read_noise(
            args.noise_std, info.fields, lambda path: _noise_maps(args, path, info)
        )
    elif args.noise_cov is not None:
        known |= _noise_covariance(args, info)
    return known


def read_spectrum(args: argparse.Namespace, path: Path, fields: "Fields") -> "FloatArray":
    """Return C_ell of a file such as that of `--cl`, in µK²."""
    from cmbinpaint.files.spectrum_files import read_cl

    return read_cl(path, kind=args.cl_kind or "auto", unit=args.cl_unit, fields=fields.value)


def _refuse_contradictions(args: argparse.Namespace) -> None:
    if args.colored_noise is not None and args.cl is None:
        raise CmbInpaintError(
            "--colored-noise needs --cl: one map does not tell its signal from colored noise"
        )
    for option in ("fwhm_arcmin", "cl_kind", "cl_unit"):
        if getattr(args, option) is not None and args.cl is None:
            raise CmbInpaintError(
                f"--{option.replace('_', '-')} says what the spectrum of --cl is, and --cl is not given; without one "
                "spectrum and beam are estimated from the map"
            )
    hits = args.hits is not None or args.hits_field is not None
    noise = {
        "--hits": hits,
        "--noise-std": args.noise_std is not None,
        "--noise-cov": args.noise_cov is not None,
    }
    if sum(noise.values()) > 1:
        given = " and ".join(name for name, is_given in noise.items() if is_given)
        raise CmbInpaintError(f"{given} both say what the noise is; give one of them")
    if hits and args.noise_level is None:
        raise CmbInpaintError("--hits needs --noise-level X, the noise of one observation in µK")
    if args.noise_level is not None and not hits:
        raise CmbInpaintError("--noise-level is that of one observation; give --hits FILE, or --noise-std")
    if args.noise_field is not None and args.noise_std is None:
        raise CmbInpaintError("--noise-field names a column of --noise-std FILE, which is not given")
    if args.noise_cov_field is not None and args.noise_cov is None:
        raise CmbInpaintError("--noise-cov-field names columns of --noise-cov FILE, which is not given")


def _noise_maps(args: argparse.Namespace, path: Path, info: "MapInfo") -> "tuple[FloatArray, str | None]":
    """Return (n, npix) the maps of `--noise-std FILE`, and their unit."""
    from cmbinpaint.files.other_columns import column_names
    from cmbinpaint.files.stokes_columns import fields_of, stokes_columns

    named = args.noise_field
    if named is None:
        names = column_names(path, max_memory=args.max_memory)
        known = info.fields.n > 1 and set(info.fields.stokes) <= set(fields_of(names).stokes)
        named = stokes_columns(names, info.fields, str(path)) if known else (0,)
    return _read(args, path, info, named)


def _noise_covariance(args: argparse.Namespace, info: "MapInfo") -> dict[str, Any]:
    """Return the noise of `--noise-cov` in µK or µK², as an argument of `inpaint_map`."""
    import numpy as np

    from cmbinpaint.files.other_columns import column_names
    from cmbinpaint.files.stokes_columns import covariance_columns
    from cmbinpaint.sphere.units import parse_power_unit, power_factor

    path, fields = args.noise_cov, info.fields
    named = args.noise_cov_field
    if named is None:
        hdu = args.hdu if path == args.map else 1
        names = column_names(path, hdu=hdu, max_memory=args.max_memory)
        named = covariance_columns(names, fields, str(path))
    rows, unit = _read(args, path, info, named)
    if unit is None:
        common.microkelvin(f"the noise covariance {path}, a square,", None)
    cov = rows * (1.0 if unit is None else power_factor(parse_power_unit(unit)))
    if len(cov) != fields.n * (fields.n + 1) // 2:
        raise CmbInpaintError(
            f"--noise-cov-field names {len(cov)} columns; the map is of {', '.join(fields.stokes)}, which needs "
            f"{fields.n * (fields.n + 1) // 2}"
        )
    return {"noise_std": np.sqrt(cov[0])} if fields.n == 1 else {"noise_cov": cov}


def _noise_of_hits(args: argparse.Namespace, info: "MapInfo") -> "FloatArray":
    """Return (npix,) or (k, npix) RING, µK, infinite where nothing was observed."""
    import numpy as np

    hits = _read(args, args.hits or args.map, info, (args.hits_field or 0,))[0][0]
    if np.any(hits < 0):
        raise MapError(f"--hits holds {int(np.count_nonzero(hits < 0))} negative numbers of observations")
    levels = np.array(common.for_each_stokes(args.noise_level, info.fields, "--noise-level"))
    with np.errstate(divide="ignore"):
        noise = levels[:, None] / np.sqrt(hits)
    return np.asarray(noise[0] if info.fields.n == 1 else noise)


def refuse_unobserved(args: argparse.Namespace, known: dict[str, Any], valid: "BoolArray") -> None:
    """Refuse hits of 0 where the masks say that a pixel was observed."""
    import numpy as np

    if args.noise_level is None:
        return
    bad = np.atleast_2d(valid).any(axis=0) & ~np.isfinite(np.atleast_2d(known["noise_std"])).all(axis=0)
    if bad.any():
        raise MapError(
            f"--hits is 0, or has no value, in {np.count_nonzero(bad)} pixels that are data, the first at RING index "
            f"{np.argmax(bad)}: add them to the mask, or leave them alone with --exclude FILE"
        )


def _read(
    args: argparse.Namespace, path: Path, info: "MapInfo", named: tuple[int | str, ...]
) -> "tuple[FloatArray, str | None]":
    """Read maps that belong to MAP: (n, npix) float64, RING, NaN where they have no value, and their unit."""
    import numpy as np

    rows, units = zip(*(_read_one(args, path, info, one) for one in named), strict=True)
    if len(set(units)) > 1:
        raise UnitsError(
            f"the columns of {path} are in units that differ: {dict(zip(named, units, strict=True))}"
        )
    return np.stack(rows), units[0]


def _read_one(
    args: argparse.Namespace, path: Path, info: "MapInfo", field: int | str
) -> "tuple[AnyArray, str | None]":
    """Read one of them."""
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
    return np.where(is_unseen(values), np.nan, values), found.unit
