"""`cmbinpaint info`: what is in a file, and what filling its holes would take.

Inputs: a map, perhaps a mask. Outputs: text, or JSON.
"""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cmbinpaint.commands import _common as common
from cmbinpaint.commands import _cost as cost
from cmbinpaint.commands import _input as source

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
    from cmbinpaint.files import fits
    from cmbinpaint.files.other_columns import column_ranges
    from cmbinpaint.sphere.maps import validate_map

    columns = fits.describe(args.map, max_memory=args.max_memory)
    sky, info = source.read_sky(args)
    ranges = {r.name: r for r in column_ranges(args.map, hdu=args.hdu, max_memory=args.max_memory)}
    facts = {
        "file": str(args.map),
        "columns": [vars(c) | _range(ranges.get(c.name) if c.hdu == info.hdu else None) for c in columns],
        **_map_facts(sky, info),
    }
    valid = source.read_observed(args, sky, info) & validate_map(sky).known
    facts["holes"] = hole_facts(valid)
    some = 0 < facts["holes"]["pixels"] < sky.size
    facts["cost"] = cost.estimate(valid, args.model)._asdict() if some else None
    print(json.dumps(facts, indent=2, allow_nan=False) if args.json else "\n".join(_lines(facts)))
    return 0


def _require_model(name: str) -> None:
    """Refuse a name that is no method and no network; whether it is can be said without torch."""
    from cmbinpaint.networks.store import find_card
    from cmbinpaint.pipeline.models import METHODS

    if name not in METHODS:
        find_card(name, METHODS)


def _range(found: "ColumnRange | None") -> dict[str, Any]:
    """Return what is known of a column's values; of other tables than the map's, nothing."""
    return {} if found is None else {k: v for k, v in found._asdict().items() if k != "name"}


def _map_facts(sky: "AnyArray", info: "MapInfo") -> dict[str, Any]:
    import numpy as np

    from cmbinpaint.sphere.maps import validate_map

    taken = validate_map(sky)
    seen = taken.values[taken.known]
    return {
        "hdu": info.hdu,
        "column": info.column,
        "nside": info.nside,
        "pixels": int(sky.size),
        "pixel_arcmin": 60 * float(np.degrees(np.sqrt(4 * np.pi / sky.size))),
        "ordering": info.ordering,
        "unit": info.unit,
        "coordinates": info.coord,
        "dtype": info.dtype,
        "sha256": info.sha256,
        "mean": float(seen.mean()) if seen.size else None,
        "std": float(seen.std()) if seen.size else None,
        "unknown_pixels": int((~taken.known).sum()),
    }


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
    unit = facts["unit"] or "unit not given"
    lines += [
        "",
        f"  column       {facts['column']} of HDU {facts['hdu']}",
        f"  nside        {facts['nside']} ({facts['pixels']} pixels of {facts['pixel_arcmin']:.3g} arcmin)",
        f"  ordering     {facts['ordering']}",
        f"  unit         {unit}",
        f"  coordinates  {facts['coordinates'] or 'not given'}",
    ]
    if facts["mean"] is not None:
        lines.append(f"  values       mean {facts['mean']:.4g}, standard deviation {facts['std']:.4g}")
    lines += [f"  unknown      {facts['unknown_pixels']} pixels are UNSEEN or NaN", ""]
    lines += _hole_lines(holes)
    masks = [c["name"] for c in facts["columns"] if c.get("is_mask")]
    if masks and holes["pixels"] == 0:
        lines.append(f"               nothing would be filled; --mask-field takes a mask: {', '.join(masks)}")
    if facts["cost"]:
        taken = facts["cost"]
        seconds, size = common.human_seconds(taken["seconds"]), common.human_bytes(taken["bytes"])
        lines += [
            "",
            f"  filling      one realization by {taken['model']} takes about {seconds} of processor time",
            f"               and {size} of memory (estimates: within a factor of two)",
        ]
    return lines


def _values(column: dict[str, Any]) -> str:
    """Return the range of a column's values, in words."""
    if column.get("least") is None:
        return "no values" if "least" in column else "-"
    unknown = f", {column['unknown']} unknown" if column["unknown"] else ""
    if column["is_mask"]:
        return f"mask, {column['mean']:.4g} of it 1{unknown}"
    return f"{column['least']:.4g} to {column['largest']:.4g}{unknown}"


def _hole_lines(holes: dict[str, Any]) -> list[str]:
    lines = [f"  fsky         {holes['fsky']:.4f}"]
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
