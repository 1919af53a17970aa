"""`cmbinpaint info`: what is in a file, and what filling its holes would take.

Inputs: a map, perhaps a mask. Outputs: text, or JSON.
"""

import argparse
import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cmbinpaint.commands import _common as common
from cmbinpaint.commands import _cost as cost
from cmbinpaint.commands import _input as source
from cmbinpaint.errors import CmbInpaintError, CmbInpaintWarning, FitsError

if TYPE_CHECKING:
    from cmbinpaint._types import AnyArray, BoolArray
    from cmbinpaint.files.fits import MapInfo
    from cmbinpaint.files.other_columns import ColumnRange


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `info`."""
    parser.add_argument("map", metavar="MAP", type=Path, help="HEALPix FITS file")
    parser.add_argument("mask", metavar="MASK", type=Path, nargs="?", help="FITS mask, 1 = observed")
    source.add_map_arguments(parser.add_argument)
    parser.add_argument(
        "--model", metavar="NAME", default="default", help="model whose cost is told (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Describe the map and its holes."""
    _require_model(args.model)
    import numpy as np

    from cmbinpaint.files import fits
    from cmbinpaint.files.other_columns import column_ranges

    columns = fits.describe(args.map, max_memory=args.max_memory)
    sky, info = source.read_sky(args)
    ranges = {r.name: r for r in column_ranges(args.map, hdu=args.hdu, max_memory=args.max_memory)}
    facts = {
        "file": str(args.map),
        "columns": [vars(c) | _range(ranges.get(c.name) if c.hdu == info.hdu else None) for c in columns],
        **_map_facts(sky, info),
        **_by_name(args, info),
    }
    rows = _observed(args, sky, info)
    if source.has_mask(args):
        _doubt_mask(sky, rows)
    facts["holes"] = hole_facts(rows[0])
    if info.fields.n == 3:
        facts["holes_of_polarization"] = hole_facts(rows[1])
    some = any(0 < np.count_nonzero(~row) < row.size for row in rows)
    facts["cost"] = cost.estimate(rows[-1], args.model, info.fields.n)._asdict() if some else None
    print(json.dumps(facts, indent=2, allow_nan=False) if args.json else "\n".join(_lines(facts)))
    return 0


def _require_model(name: str) -> None:
    """Refuse a name that is no method and no network; whether it is can be said without torch."""
    from cmbinpaint.networks.store import find_card
    from cmbinpaint.pipeline.models import METHODS

    if name not in METHODS:
        find_card(name, METHODS)


def _observed(args: argparse.Namespace, sky: "AnyArray", info: "MapInfo") -> "list[BoolArray]":
    """Return what is data, (npix,) bool each: of T, or of Q and U together, or of both."""
    import numpy as np

    from cmbinpaint.sphere.maps import validate_map

    observed = np.atleast_2d(source.read_observed(args, sky, info))
    known = np.atleast_2d(validate_map(sky, polarized=True).known)
    rows = known & np.stack(common.for_each_stokes(list(observed), info.fields, "the mask"))
    return [np.asarray(rows[part].all(axis=0)) for _, part in info.fields.spins]


def _doubt_mask(sky: "AnyArray", rows: "list[BoolArray]") -> None:
    """Warn of what a fill would warn of, or refuse: a mask that is inverted, zeros called data."""
    import numpy as np

    from cmbinpaint.sphere.input_warnings import check_input
    from cmbinpaint.sphere.maps import validate_map

    values = np.atleast_2d(validate_map(sky, polarized=True).values)
    try:
        check_input(values[0], rows[0])
    except CmbInpaintError as error:
        warnings.warn(f"a fill would be refused: {error}", CmbInpaintWarning, stacklevel=2)


def _range(found: "ColumnRange | None") -> dict[str, Any]:
    """Return what is known of a column's values; of other tables than the map's, nothing."""
    return {} if found is None else {k: v for k, v in found._asdict().items() if k != "name"}


def _map_facts(sky: "AnyArray", info: "MapInfo") -> dict[str, Any]:
    import numpy as np

    from cmbinpaint.sphere.maps import validate_map

    taken = validate_map(sky, polarized=True)
    npix, known = sky.shape[-1], np.atleast_2d(taken.known)
    seen = [row[here] for row, here in zip(np.atleast_2d(taken.values), known, strict=True)]
    return {
        "hdu": info.hdu,
        "fields": info.fields.stokes,
        "column": ", ".join(info.names),
        "nside": info.nside,
        "pixels": int(npix),
        "pixel_arcmin": 60 * float(np.degrees(np.sqrt(4 * np.pi / npix))),
        "ordering": info.ordering,
        "unit": info.unit,
        "coordinates": info.coord,
        "polconv": info.polcconv,
        "dtype": info.dtype,
        "sha256": info.sha256,
        "mean": _each([float(row.mean()) if row.size else None for row in seen]),
        "std": _each([float(row.std()) if row.size else None for row in seen]),
        "unknown_pixels": _each([int(n) for n in (~known).sum(axis=1)]),
    }


def _each(values: list[Any]) -> Any:
    """Return what is known of each Stokes parameter as a list, of T alone as it is."""
    return values[0] if len(values) == 1 else values


def _by_name(args: argparse.Namespace, info: "MapInfo") -> dict[str, list[str]]:
    """Return the masks and the noise covariance that the names of MAP's columns say."""
    from cmbinpaint.files.other_columns import column_names
    from cmbinpaint.files.stokes_columns import covariance_columns, mask_columns

    names = column_names(args.map, hdu=args.hdu, max_memory=args.max_memory)
    masks = mask_columns(names, info.fields)
    try:
        covariance = covariance_columns(names, info.fields, "")
    except FitsError:
        covariance = ()
    return {"masks": [] if masks == info.names else list(masks), "noise_covariance": list(covariance)}


def hole_facts(valid: "BoolArray") -> dict[str, Any]:
    """Count the holes of (npix,) bool, RING, by size."""

    from cmbinpaint.report.hole_table import size_classes
    from cmbinpaint.sphere import masks

    if not valid.any():
        return {"fsky": 0.0, "pixels": int(valid.size), "count": 1, "sizes": {}, "largest": int(valid.size)}
    sizes = masks.hole_sizes(masks.hole_labels(valid))
    return {
        "fsky": masks.fsky(valid),
        "pixels": int((~valid).sum()),
        "count": int(sizes.size),
        "sizes": {c.name: c.holes for c in size_classes(sizes)},
        "largest": int(sizes.max(initial=0)),
        "deepest_pixels": float(masks.depth(valid).max()),
    }


def _lines(facts: dict[str, Any]) -> list[str]:
    holes = facts["holes"]
    lines = [facts["file"], "", f"  {'HDU':<5}{'column':<20}{'unit':<14}{'type':<10}{'values':>12}  range"]
    lines += [
        f"  {c['hdu']:<5}{c['name']:<20}{c['unit'] or '-':<14}{c['dtype']:<10}{c['length']:>12}  {_values(c)}"
        for c in facts["columns"]
    ]
    unit = facts["unit"] or "not given"
    lines += [
        "",
        f"  column       {facts['column']} of HDU {facts['hdu']}",
        f"  nside        {facts['nside']} ({facts['pixels']} pixels of {facts['pixel_arcmin']:.3g} arcmin)",
        f"  ordering     {facts['ordering']}",
        f"  unit         {unit}",
        f"  coordinates  {facts['coordinates'] or 'not given'}",
        *_polarization_lines(facts),
    ]
    lines += _value_lines(facts)
    other = facts.get("holes_of_polarization", holes)
    for what, each in (("", holes),) if other == holes else (("T", holes), ("Q, U", other)):
        lines += ["", *_hole_lines(each, what)]
    masks = [c["name"] for c in facts["columns"] if c.get("is_mask")]
    if holes["pixels"] == 0 and facts["column"] in masks:
        lines.append(
            f"               this column is a mask: `cmbinpaint info MAP {facts['file']}` counts its holes"
        )
    elif holes["pixels"] == 0 and masks and not facts["masks"]:
        lines.append(f"  masks        nothing would be filled without one: --mask-field {', '.join(masks)}")
    if facts["masks"]:
        lines.append(f"  masks        of the file's own: --mask-field {','.join(facts['masks'])}")
    if facts["noise_covariance"]:
        columns = ", ".join(facts["noise_covariance"])
        lines.append(f"  noise        {columns}: --noise-cov {facts['file']}")
    if facts["cost"]:
        taken = facts["cost"]
        seconds, size = common.human_seconds(taken["seconds"]), common.human_bytes(taken["bytes"])
        lines += [
            "",
            f"  filling      one realization by {taken['model']} takes about {seconds} of processor time",
            f"               and {size} of memory (estimates: within a factor of two)",
        ]
    return lines


def _value_lines(facts: dict[str, Any]) -> list[str]:
    """Return mean, standard deviation and number of unknown pixels, of each Stokes parameter."""
    if facts["fields"] == "T":
        unknown = f"  unknown      {facts['unknown_pixels']} pixels are UNSEEN or NaN"
        if facts["mean"] is None:
            return [unknown]
        return [f"  values       mean {facts['mean']:.4g}, standard deviation {facts['std']:.4g}", unknown]
    each = zip(facts["fields"], facts["mean"], facts["std"], facts["unknown_pixels"], strict=True)
    return [
        f"  {stokes}            mean {mean:.4g}, standard deviation {std:.4g}; {unknown} pixels are UNSEEN or NaN"
        if mean is not None
        else f"  {stokes}            all {unknown} pixels are UNSEEN or NaN"
        for stokes, mean, std, unknown in each
    ]


def _polarization_lines(facts: dict[str, Any]) -> list[str]:
    """Return what is filled together, and in which convention."""
    if facts["fields"] == "T":
        return []
    convention = facts["polconv"] or "not given: COSMO, HEALPix's, is assumed; --polconv declares it"
    together = ", ".join(facts["fields"])
    return [
        f"  fields       {together}, filled together; --fields T for T alone",
        f"  convention   {convention}",
    ]


def _values(column: dict[str, Any]) -> str:
    """Return the range of a column's values, in words."""
    if column.get("least") is None:
        return "no values" if "least" in column else "-"
    unknown = f", {column['unknown']} unknown" if column["unknown"] else ""
    if column["is_mask"]:
        return f"mask, {column['mean']:.4g} of it 1{unknown}"
    return f"{column['least']:.4g} to {column['largest']:.4g}{unknown}"


def _hole_lines(holes: dict[str, Any], what: str = "") -> list[str]:
    lines = [f"  fsky {what:<7} {holes['fsky']:.4f}"]
    if holes["pixels"] == 0:
        return [*lines, "  holes        none"]
    if holes["fsky"] == 0:
        return [*lines, "  holes        the whole sky: nothing is observed"]
    lines.append(
        f"  holes        {holes['count']}, {holes['pixels']} pixels together, the largest {holes['largest']}, "
        f"the deepest {holes['deepest_pixels']:.1f} pixels from the nearest observed one"
    )
    width = max(map(len, holes["sizes"])) + 2
    lines += [f"    {name:>{width}} px {count:>8}" for name, count in holes["sizes"].items() if count]
    return lines
