"""`cmbinpaint spectra`: power spectra of a filled map beside its truth and its observed part.

Inputs: a filled map, perhaps the truth, the map with holes, a mask. Outputs: a table, a figure.
"""

import argparse
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cmbinpaint._files import write_whole
from cmbinpaint.commands import _common as common
from cmbinpaint.commands import _input as source
from cmbinpaint.commands import _outputs as outputs
from cmbinpaint.commands._companions import Companions
from cmbinpaint.commands._optimal import (
    add_optimal_arguments,
    optimal_file,
    optimal_of,
    optimal_table,
    write_optimal,
)
from cmbinpaint.errors import CmbInpaintError

if TYPE_CHECKING:
    from cmbinpaint._types import AnyArray, FloatArray
    from cmbinpaint.files.fits import MapInfo
    from cmbinpaint.pipeline.optimal_spectrum import OptimalSpectrum
    from cmbinpaint.pipeline.spectra_comparison import SpectraComparison

    Comparisons = dict[str, SpectraComparison]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `spectra`."""
    parser.epilog = (
        "example:\n"
        "  cmbinpaint spectra filled.fits --observed sky.fits --mask-field TMASK -o spectra\n"
        "prints a table of bandpowers and writes spectra.csv and spectra.png; of T, Q, U TT, EE, BB, TE, EB and TB."
    )
    parser.add_argument("map", metavar="MAP", type=Path, help="HEALPix FITS file without holes")
    parser.add_argument("--target", metavar="FILE", type=Path, help="the true full sky, if it is known")
    parser.add_argument("--observed", metavar="FILE", type=Path, help="the map before it was filled")
    parser.add_argument("--mask", metavar="FILE", type=Path, help="FITS mask, 1 = observed, or weights")
    source.add_column_arguments(parser.add_argument)
    parser.set_defaults(hdu=1, mpi=False, dask=None)
    parser.add_argument("--unit", metavar="U", help="declares the unit of all maps (K, mK or uK)")
    parser.add_argument("--ordering", choices=["RING", "NESTED"], help="declares it where a header lacks it")
    parser.add_argument("--fwhm-arcmin", metavar="X", type=common.positive_float,
                        help="divide by this Gaussian beam and the pixel window")  # fmt: skip
    parser.add_argument("--lmax", metavar="L", type=common.positive_int, help="default 3*nside-1")
    parser.add_argument(
        "--bins", metavar="N", type=common.positive_int, help="how many; default 20, in log ell"
    )
    parser.add_argument("--apodize", metavar="DEG", type=_apodization, help="degrees over which the observed part fades"
                        " at holes, by NaMaster's C1; DEG,C2: by that taper")  # fmt: skip
    add_optimal_arguments(parser.add_argument_group("optimal bandpowers").add_argument)
    parser.add_argument("--max-memory", metavar="B", type=common.memory_size, help="as 8G")
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        help="write OUT.csv and OUT.png; OUT.json: JSON and OUT.png; FOLDER/: spectra.csv and .png in it",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace them if they exist")


def _apodization(text: str) -> tuple[float, str]:
    """Parse DEG or DEG,TAPER."""
    degrees, _, taper = text.partition(",")
    if taper not in ("", "C1", "C2"):
        raise argparse.ArgumentTypeError(f"the taper is {taper!r}; expected C1 or C2, as 5,C2")
    return common.positive_float(degrees), taper or "C1"


def run(args: argparse.Namespace) -> int:
    """Compare, print, write."""
    table_path, figure_path = _outputs(args.output)
    best_path = optimal_file(args, table_path)
    wanted = [path for path in (table_path, figure_path, best_path) if path is not None]
    outputs.refuse_outputs(args, wanted, overwrite=args.overwrite)
    comparison, best = _compare(args, best_path)
    print("\n\n".join([*_texts(comparison), *([optimal_table(best)] if best else [])]))
    if best is not None and best_path is not None:
        write_optimal(best, best_path, replace=args.overwrite)
    if table_path is not None and figure_path is not None:
        as_text = _json if table_path.suffix == ".json" else _csv
        write_whole(table_path, as_text(comparison), replace=args.overwrite)
        with common.stage("figure"):
            _draw(comparison, best, figure_path, f"Power spectra of {args.map.name}", replace=args.overwrite)
    if wanted:
        print("\n".join(map(str, wanted)))
    return 0


def _outputs(text: str | None) -> tuple[Path | None, Path | None]:
    if text is None:
        return None, None
    output = outputs.output_file(text, "spectra.csv")
    if output.suffix in (".json", ".csv"):
        return output, output.with_suffix(".png")
    base = output.with_suffix("") if output.suffix == ".png" else output
    return base.with_name(base.name + ".csv"), base.with_name(base.name + ".png")


def _compare(
    args: argparse.Namespace, best_path: Path | None
) -> "tuple[Comparisons, OptimalSpectrum | None]":
    from cmbinpaint.pipeline.compare_spectra import compare_all

    sky, info = source.read_sky(args)
    files = Companions(info, "uK_CMB" if info.unit else None, args.max_memory, (args.unit, args.ordering))
    observed = None if args.observed is None else files.read(args.observed)[0]
    filled, mask = files.in_work_unit(sky, info), _read_mask(args, info)
    with common.stage("spectra"):
        found = compare_all(
            filled,
            target=None if args.target is None else files.read_full(args.target),
            observed=observed,
            mask=mask,
            beam=_beam(args, info),
            lmax=args.lmax,
            bins=args.bins,
            apodize=args.apodize,
        )
    bands = next(iter(found.values())).bands
    best = optimal_of(args, filled if observed is None else observed, mask, info, bands, best_path)
    return {name: replace(one, unit="uK_CMB" if info.unit else None) for name, one in found.items()}, best


def _read_mask(args: argparse.Namespace, info: "MapInfo") -> "AnyArray | None":
    import numpy as np

    from cmbinpaint.files import fits

    if not source.has_mask(args):
        return None
    if args.mask is None and args.observed is None:
        raise CmbInpaintError("--mask-field names a column of --mask or of --observed, and neither is given")
    rows = []
    for path, column in source.masks_of(args, info):
        ordering = args.ordering if path is None else None
        rows.append(
            fits.read_mask(
                path or args.observed,
                column,
                ordering=ordering,
                max_memory=args.max_memory,
                same_frame_as=info,
            )
        )
    return rows[0] if len(rows) == 1 else np.stack(common.for_each_stokes(rows, info.fields, "the mask"))


def _beam(args: argparse.Namespace, info: "MapInfo") -> "FloatArray | None":
    if args.fwhm_arcmin is None:
        return None
    import numpy as np

    from cmbinpaint.sphere.windows import map_window

    fwhm, lmax = float(np.radians(args.fwhm_arcmin / 60)), args.lmax or 3 * info.nside - 1
    return np.stack([map_window(info.nside, lmax, fwhm=fwhm, spin=spin) for spin, _ in info.fields.spins])


def _texts(comparisons: "Comparisons") -> list[str]:
    """Return the table of each spectrum, of polarization under its name; what all say last is said once."""
    if len(comparisons) == 1:
        return [one.table().text for one in comparisons.values()]
    parts = {name: one.table().text.rpartition("\n") for name, one in comparisons.items()}
    statements = dict.fromkeys(last for _, _, last in parts.values())
    return [*(f"{name}\n{rows}" for name, (rows, _, _) in parts.items()), "\n".join(statements)]


def _csv(comparisons: "Comparisons") -> str:
    """Return one table: of polarization with the name of the spectrum first, and a column for each that any has."""
    tables = {name: one.table() for name, one in comparisons.items()}
    columns = list(dict.fromkeys(column for table in tables.values() for column in table.columns))
    several = len(tables) > 1
    lines = [f"# {next(iter(comparisons.values())).statement}", ",".join(["spectrum"] * several + columns)]
    for name, table in tables.items():
        for row in table.rows:
            value = dict(zip(table.columns, row, strict=True))
            lines.append(",".join([name] * several + [f"{value.get(c, math.nan):.8g}" for c in columns]))
    return "\n".join(lines) + "\n"


def _json(comparisons: "Comparisons") -> str:
    bands = {name: _bands(one) for name, one in comparisons.items()}
    first = next(iter(comparisons.values()))
    facts = {"statement": first.statement, "nside": first.nside, "lmax": first.lmax, "fsky": first.fsky}
    facts |= {"bands": bands["TT"]} if len(bands) == 1 else {"spectra": bands}
    return json.dumps(facts, indent=2) + "\n"


def _bands(comparison: "SpectraComparison") -> list[dict[str, float | None]]:
    table = comparison.table()
    return [
        {
            name: value if math.isfinite(value) else None
            for name, value in zip(table.columns, row, strict=True)
        }
        for row in table.rows
    ]


def _draw(
    comparisons: "Comparisons", best: "OptimalSpectrum | None", path: Path, title: str, *, replace: bool
) -> None:
    import numpy as np

    from cmbinpaint import plots
    from cmbinpaint.plots.spectra import COMPARED

    first = next(iter(comparisons.values()))
    window = "beam and pixel window divided out" if first.beam_divided else "beam and pixel window included"
    options: dict[str, Any] = {
        "unit": "µK" if first.unit else None,
        "title": title,
        "note": f"{window}, noise included; nside {first.nside}",
        "roles": COMPARED | {"optimal": "network"},
    }
    ell = first.bands.centers
    spectra = {name: one.d_ell for name, one in comparisons.items()}
    bands = {name: one.cosmic_fraction for name, one in comparisons.items()}
    errors = {name: one.d_ell_std for name, one in comparisons.items()}
    # Beside the others only as they are: noise in, and the same window in or out.
    if best is not None and best.beam_divided == first.beam_divided:
        factor = ell * (ell + 1) / (2 * np.pi)
        rows = (np.atleast_2d(factor * power) for power in (best.bandpowers + best.noise_bias, best.errors))
        for name, power, error in zip(best.spectra, *rows, strict=True):
            spectra[name], errors[name] = (
                spectra[name] | {"optimal": power},
                errors[name] | {"optimal": error},
            )
    if len(comparisons) == 1:
        figure = plots.draw_comparison(ell, spectra["TT"], band=bands["TT"], errors=errors["TT"], **options)
    else:
        figure = plots.draw_spectra(ell, spectra, bands=bands, errors=errors, **options)
    plots.save_figure(figure, path, replace=replace)
