"""``cmbinpaint dataset``: simulate the patches that a network is trained on, resumable at any moment.

Inputs: a recipe (a TOML file or the name of a packaged one), a folder. Outputs: shards and a manifest.
"""

import argparse
import time
from pathlib import Path

from cmbinpaint.commands import _common as common
from cmbinpaint.commands import _outputs as outputs
from cmbinpaint.errors import requires


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add = parser.add_argument
    add(
        "recipe", metavar="RECIPE.toml", help="a TOML file, or the name of a packaged recipe (data-old-small)"
    )
    add(
        "-o",
        "--output",
        metavar="DIR",
        type=Path,
        help="folder of the data set (default: data/ and the recipe's name); a rerun completes it",
    )
    add(
        "--workers",
        metavar="N",
        type=common.natural,
        help="processes that simulate; 0: none beside this one; default: one a core. The files are the same",
    )
    add("--check", action="store_true", help="only verify a finished data set against its manifest")


def run(args: argparse.Namespace) -> int:
    """Make, complete or verify the data set; 0 when it is whole."""
    requires("network")
    from cmbinpaint._machine import available_cores
    from cmbinpaint.training.data.reader import StoredSkies
    from cmbinpaint.training.data.shards import build_dataset
    from cmbinpaint.training.data.skies import DataSetRecipe

    recipe = DataSetRecipe.read(args.recipe)
    folder = args.output or Path("data") / recipe.name
    outputs.refuse_folder(folder)
    start = time.monotonic()
    if not args.check:
        workers = available_cores() if args.workers is None else args.workers
        with common.progress_bar(recipe.name) as bar:

            def progress(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            build_dataset(recipe, folder, workers=workers if workers > 1 else 0, progress=progress)
    skies = StoredSkies.open(folder)
    counts = ", ".join(f"{split} {skies.count(split)}" for split in skies.splits)
    print(
        f"{recipe.name}: {len(recipe.ns)} class(es) of n_s, {counts} patches of {recipe.side} px at "
        f"{recipe.step_arcmin:g} arcmin, margin {recipe.margin} px, verified"
    )
    print(
        f"{common.human_bytes(recipe.n_bytes)} in {folder}, {common.human_seconds(time.monotonic() - start)}"
    )
    return 0
