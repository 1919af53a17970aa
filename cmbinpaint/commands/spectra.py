"""`cmbinpaint spectra`: power spectra of a filled map beside its truth and its observed part.

Inputs: a filled map, perhaps the truth, the map with holes, a mask. Outputs: a table, a figure.
"""

import argparse
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cmbinpaint._files import write_whole
from cmbinpaint.commands import _common as common
from cmbinpaint.commands import _outputs as outputs
from cmbinpaint.commands._companions import Companions
from cmbinpaint.errors import CmbInpaintError

if TYPE_CHECKING:
    from cmbinpaint._types import AnyArray, FloatArray
    from cmbinpaint.files.fits import MapInfo
    from cmbinpaint.pipeline.spectra_comparison import SpectraComparison


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `spectra`."""
    parser.epilog = (
        "example:\n"
        "  cmbinpaint spectra filled.fits --observed sky.fits --mask-field TMASK -o spectra\n"
        "prints a table of bandpowers and writes spectra.csv and spectra.png."
    )
    parser.add_argument("map", metavar="MAP", type=Path, help="HEALPix FITS file without holes")
    parser.add_argument("--target", metavar="FILE", type=Path, help="the true full sky, if it is known")
    parser.add_argument("--observed", metavar="FILE", type=Path, help="the map before it was filled")
    parser.add_argument("--mask", metavar="FILE", type=Path, help="FITS mask, 1 = observed, or weights")
    parser.add_argument("--field", metavar="NAME", type=common.column, default=0, help="column of all maps")
    parser.add_argument(
        "--mask-field",
        metavar="NAME",
        type=common.column,
        help="the mask's column, in --mask or else --observed",
    )
    parser.add_argument("--unit", metavar="U", help="declares the unit of all maps (K, mK or uK)")
    parser.add_argument("--ordering", choices=["RING", "NESTED"], help="declares it where a header lacks it")
    parser.add_argument("--fwhm-arcmin", metavar="X", type=common.positive_float,
                        help="divide by this Gaussian beam and the pixel window")  # fmt: skip
    parser.add_argument("--lmax", metavar="L", type=common.positive_int, help="default 3*nside-1")
    parser.add_argument(
        "--bins", metavar="N", type=common.positive_int, help="how many; default 20, in log ell"
    )
    parser.add_argument("--max-memory", metavar="B", type=common.memory_size, help="as 8G")
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        help="write OUT.csv and OUT.png; OUT.json: JSON and OUT.png; FOLDER/: spectra.csv and .png in it",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace them if they exist")


def run(args: argparse.Namespace) -> int:
    """Compare, print, write."""
    table_path, figure_path = _outputs(args.output)
    wanted = [path for path in (table_path, figure_path) if path is not None]
    outputs.refuse_outputs(args, wanted, overwrite=args.overwrite)
    with common.stage("spectra"):
        comparison = _compare(args)
    table = comparison.table()
    print(table.text)
    if table_path is None or figure_path is None:
        return 0
    as_text = _json if table_path.suffix == ".json" else _csv
    write_whole(table_path, as_text(comparison), replace=args.overwrite)
    with common.stage("figure"):
        _draw(comparison, figure_path, f"Power spectra of {args.map.name}", replace=args.overwrite)
    print(f"{table_path}\n{figure_path}")
    return 0


def _outputs(text: str | None) -> tuple[Path | None, Path | None]:
    if text is None:
        return None, None
    output = outputs.output_file(text, "spectra.csv")
    if output.suffix in (".json", ".csv"):
        return output, output.with_suffix(".png")
    base = output.with_suffix("") if output.suffix == ".png" else output
    return base.with_name(base.name + ".csv"), base.with_name(base.name + ".png")


def _compare(args: argparse.Namespace) -> "SpectraComparison":
    from cmbinpaint.files import fits
    from cmbinpaint.pipeline.compare_spectra import compare_spectra

    sky, info = fits.read_map(
        args.map, args.field, unit=args.unit, ordering=args.ordering, max_memory=args.max_memory
    )
    files = Companions(info, "uK_CMB" if info.unit else None, args.max_memory, (args.unit, args.ordering))
    observed = None if args.observed is None else files.read(args.observed)[0]
    comparison = compare_spectra(
        files.in_work_unit(sky, info),
        target=None if args.target is None else files.read_full(args.target),
        observed=observed,
        mask=_read_mask(args, info),
        beam=_beam(args, info.nside),
        lmax=args.lmax,
        bins=args.bins,
    )
    return replace(comparison, unit="uK_CMB" if info.unit else None)


def _read_mask(args: argparse.Namespace, info: "MapInfo") -> "AnyArray | None":
    from cmbinpaint.files import fits

    if args.mask is None and args.mask_field is None:
        return None
    path = args.mask or args.observed
    if path is None:
        raise CmbInpaintError("--mask-field names a column of --mask or of --observed, and neither is given")
    field = 0 if args.mask_field is None else args.mask_field
    ordering = args.ordering if args.mask is None else None
    return fits.read_mask(path, field, ordering=ordering, max_memory=args.max_memory, same_frame_as=info)


def _beam(args: argparse.Namespace, nside: int) -> "FloatArray | None":
    if args.fwhm_arcmin is None:
        return None
    import numpy as np

    from cmbinpaint.sphere.windows import gaussian_beam, pixel_window

    lmax = args.lmax or 3 * nside - 1
    return gaussian_beam(float(np.radians(args.fwhm_arcmin / 60)), lmax) * pixel_window(nside, lmax)


def _csv(comparison: "SpectraComparison") -> str:
    table = comparison.table()
    lines = [f"# {comparison.statement}", ",".join(table.columns)]
    lines += [",".join(f"{value:.8g}" for value in row) for row in table.rows]
    return "\n".join(lines) + "\n"


def _json(comparison: "SpectraComparison") -> str:
    table = comparison.table()
    rows = [
        {
            name: value if math.isfinite(value) else None
            for name, value in zip(table.columns, row, strict=True)
        }
        for row in table.rows
    ]
    facts = {"nside": comparison.nside, "lmax": comparison.lmax, "fsky": comparison.fsky}
    return json.dumps({"statement": comparison.statement, **facts, "bands": rows}, indent=2) + "\n"


def _draw(comparison: "SpectraComparison", path: Path, title: str, *, replace: bool) -> None:
    import numpy as np

    from cmbinpaint import plots

    ell = comparison.bands.centers
    factor = ell * (ell + 1) / (2 * np.pi)
    given = {
        "target": comparison.target,
        "filled": comparison.filled,
        "observed part, decoupled": comparison.observed,
    }
    roles = dict(zip(given, ("target", "filled", "observed"), strict=True))
    spectra = {name: cl * factor for name, cl in given.items() if cl is not None}
    reference = comparison.filled if comparison.target is None else comparison.target
    window = (
        "beam and pixel window divided out" if comparison.beam_divided else "beam and pixel window included"
    )
    figure = plots.draw_comparison(
        ell,
        spectra,
        roles=roles,
        band=comparison.cosmic_std / reference,
        unit="µK" if comparison.unit else None,
        title=title,
        note=f"{window}, noise included; nside {comparison.nside}",
    )
    plots.save_figure(figure, path, replace=replace)
