"""Bandpowers of least variance beside the spectra of a filled map: `spectra --optimal`.

Inputs: the arguments declared here, a map with holes and its mask. Outputs: `OptimalSpectrum`, its table.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cmbinpaint._files import write_whole
from cmbinpaint.commands import _common as common
from cmbinpaint.commands._known import add_spectrum_arguments
from cmbinpaint.commands._pools import workers
from cmbinpaint.errors import CmbInpaintError

if TYPE_CHECKING:
    from cmbinpaint._types import AnyArray
    from cmbinpaint.files.fits import MapInfo
    from cmbinpaint.pipeline.optimal_spectrum import OptimalSpectrum
    from cmbinpaint.spectra.bandpowers import Bandpowers


def add_optimal_arguments(add: Callable[..., Any]) -> None:
    """Declare `--optimal` and what it needs to know of the sky."""
    add("--optimal", action="store_true",
        help="bandpowers of least variance too, of what is observed; with -o OUT in OUT_optimal.csv; a run that was "
        "killed goes on if its command is given again")  # fmt: skip
    add("--optimal-output", metavar="FILE", type=Path, help="write them to FILE.fits, with covariance and windows, or "
        "FILE.csv")  # fmt: skip
    add("--cl", metavar="FILE", type=Path, help="C_ell that the sky is expected to have; default: estimated")
    add_spectrum_arguments(add)
    add(
        "--noise-std",
        metavar="X",
        type=common.levels,
        help="white noise per pixel in µK; of T, Q, U one for all, X,Y for T and polarization, or three; default: "
        "estimated",
    )
    add("--seed", metavar="S", type=common.natural, help="of random numbers; default: a fresh one, shown")
    add("--workers", metavar="W", type=common.positive_int, help="processes that share the solves; default 1")


def optimal_of(
    args: argparse.Namespace, sky: "AnyArray", mask: "AnyArray | None", info: "MapInfo", bands: "Bandpowers",
    output: Path | None,
) -> "OptimalSpectrum | None":  # fmt: skip
    """Estimate the bandpowers of a map in the unit of the work, if they are wanted; pieces are kept beside `output`."""
    if not args.optimal:
        _refuse_alone(args)
        return None
    import numpy as np

    from cmbinpaint.commands._known import read_spectrum
    from cmbinpaint.pipeline.optimal_spectrum import optimal_spectrum

    if args.cl is None and args.fwhm_arcmin is not None:
        raise CmbInpaintError(
            "--optimal divides by the beam of --fwhm-arcmin where --cl says what it smoothed; give --cl"
        )
    known: dict[str, Any] = {}
    if args.noise_std is not None:
        each = common.for_each_stokes(args.noise_std, info.fields, "--noise-std")
        known["noise_std"] = each[0] if len(each) == 1 else np.array(each)
    if args.cl is not None:
        fwhm = None if args.fwhm_arcmin is None else float(np.radians(args.fwhm_arcmin / 60))
        known |= {"cl": read_spectrum(args, args.cl, info.fields), "fwhm": fwhm}
    folder = _pieces_of(output)
    seed = common.fresh_seed() if args.seed is None and folder is None else args.seed
    with common.progress_bar("optimal spectrum") as bar, workers(args) as executor:
        return optimal_spectrum(
            sky, mask, bins=bands, unit="uK" if info.unit else None, seed=seed,
            executor=executor, folder=folder, progress=lambda progress: bar.set_postfix_str(str(progress)), **known,
        )  # fmt: skip


def _refuse_alone(args: argparse.Namespace) -> None:
    """Refuse options that say something to `--optimal` where it is not given."""
    for option in ("optimal_output", "cl", "cl_kind", "cl_unit", "noise_std", "seed", "workers"):
        if getattr(args, option) is not None:
            raise CmbInpaintError(f"--{option.replace('_', '-')} is for --optimal; give it too, or omit this")


def optimal_file(args: argparse.Namespace, table: Path | None) -> Path | None:
    """Return where the bandpowers are written, beside the table of the other spectra if nothing else is said."""
    path: Path | None = args.optimal_output
    if path is None:
        return table.with_name(f"{table.stem}_optimal.csv") if table and args.optimal else None
    if not path.name.endswith((".csv", ".fits", ".fits.gz")):
        raise CmbInpaintError(
            f"--optimal-output {path}: a name that ends in .fits, .fits.gz or .csv is expected"
        )
    return path


def _pieces_of(output: Path | None) -> Path | None:
    """Where a run that is killed leaves what it has finished, for the same command typed again."""
    return None if output is None else output.with_name(f"{output.name}.pieces")


def write_optimal(best: "OptimalSpectrum", path: Path, *, replace: bool) -> None:
    """Write the bandpowers as FITS or CSV, as the file's name says, and remove the pieces that they were made of."""
    from cmbinpaint.pipeline.kept_pieces import remove_pieces

    if path.suffix == ".csv":
        write_whole(path, best.csv(), replace=replace)
    else:
        best.write(path, overwrite=replace)
    if (pieces := _pieces_of(path)) is not None:
        remove_pieces(pieces)


def optimal_table(best: "OptimalSpectrum") -> str:
    """Return D_ell of each band with its error, and as it is with the noise, as text."""
    import numpy as np

    center, *powers = best.to_dl()
    factor, edges = center * (center + 1) / (2 * np.pi), best.bands.edges
    rows = [np.atleast_2d(power) for power in (*powers, factor * best.noise_bias)]
    lines = []
    for name, d_ell, errors, noise in zip(best.spectra, *rows, strict=True):
        lines += [name] if len(best.spectra) > 1 else []
        lines.append(
            f"{'ell_min':>7}  {'ell_max':>7}  {'optimal':>9}  {'error':>9}  {'optimal, noise in':>17}"
        )
        lines += [
            f"{low:>7}  {high - 1:>7}  {value:>9.4g}  {error:>9.4g}  {value + bias:>17.4g}"
            for low, high, value, error, bias in zip(edges[:-1], edges[1:], d_ell, errors, noise, strict=True)
        ]
    window = "beam and pixel window divided out" if best.beam_divided else "beam and pixel window in"
    unit = f"{best.unit}^2" if best.unit else "the map's unit squared"
    said = (
        f"optimal: D_ell in {unit}, {window}, noise bias subtracted (seed {best.seed}); "
        "'noise in' compares to the columns above, where these have the same window"
    )
    return "\n".join([*lines, said])
