"""`cmbinpaint models`: which models can fill a map.

Inputs: nothing, or a folder of cards. Outputs: a table.
"""

import argparse
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cmbinpaint.networks.card import Card


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `models`."""
    parser.add_argument("--folder", metavar="DIR", help="list the cards in a folder, not those that ship")
    parser.add_argument("--json", action="store_true", help="print whole cards as JSON")


def run(args: argparse.Namespace) -> int:
    """Print the table of models."""
    from cmbinpaint.networks.store import list_models
    from cmbinpaint.pipeline.models import METHODS

    cards = list_models(args.folder)
    if args.json:
        print(json.dumps([json.loads(card.to_json()) for card in cards], indent=2))
        return 0
    if not args.folder:
        print("methods:")
        for name, method in METHODS.items():
            print(f"  {name:<18}{method.what}")
        print()
    print("networks:" if cards else "networks: none here")
    for card in cards:
        print("\n".join(_describe(card)))
    return 0


def _describe(card: "Card") -> list[str]:
    lines = [f"  {card.name:<18}{card.family}, {_count(card.n_weights)} weights, {card.steps} training steps"]
    more = [f"sha256: {card.sha256[:16]}..., license {card.license}, cmbinpaint {card.version}"]
    more += [f"limit: {limit}" for limit in card.limits]
    more += _graded(card.figures)
    return lines + [f"{'':20}{line}" for line in more]


def _graded(figures: Mapping[str, Any]) -> list[str]:
    """Say what `validate` and the benchmarks put into a card: error over the exact mean's."""
    lines = []
    for key, entry in figures.items():
        if key.startswith("validation_nside"):
            _, _, steps = key.partition("@")
            use = "refined" if not steps else "not refined" if steps == "0" else f"refined by {steps} steps"
            where = f"nside {entry['nside']}, {entry['skies']} skies, {use}"
            lines.append(f"excess by depth, {where}: {_rounded(entry['excess']['value'])}")
        elif key == "sphere":
            where = f"nside {entry['nside']}, {entry['skies']} skies, not refined"
            lines.append(f"excess by depth, {where}: {_rounded(entry['excess'])}")
        elif key == "circles":
            radii = " ".join(map(str, entry["radii"]))
            lines.append(f"excess in circles of {radii} px, no beam, no noise: {_rounded(entry['excess'])}")
    return lines


def _rounded(values: list[float]) -> str:
    return " ".join(f"{value:.3f}" for value in values)


def _count(number: int) -> str:
    return f"{number / 1e6:.1f} M" if number >= 1e6 else str(number)
