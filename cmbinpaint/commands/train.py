"""``cmbinpaint train``: train a network from a recipe, resumable at any moment.

Inputs: a recipe (a TOML file or the name of a packaged one), an output folder. Outputs: checkpoints and logs, and at
the end the network's weights with their card. Under torchrun each process trains on its share of every batch.
"""

import argparse
import os
from pathlib import Path

from cmbinpaint.commands import _outputs as outputs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("recipe", metavar="RECIPE.toml", help="a TOML file, or the name of a packaged recipe")
    parser.add_argument(
        "-o",
        "--output",
        metavar="DIR",
        help="folder of checkpoints and logs (default: runs/ and the recipe's name); a rerun resumes from it",
    )
    parser.add_argument(
        "--device", default="auto", metavar="D", help="auto, cpu, cuda, cuda:N or mps (default: auto)"
    )
    parser.add_argument(
        "--stop-after", type=_positive, metavar="N", help="stop, resumable, after N steps of this call"
    )
    parser.add_argument(
        "--no-resume",
        action="store_true",
        help="refuse a folder that holds checkpoints instead of going on from it",
    )
    parser.add_argument(
        "--resume-from",
        metavar="CHECKPOINT",
        help="go back to this checkpoint of the run (a name such as step_00000500), or begin from another run's",
    )


def run(args: argparse.Namespace) -> int:
    """Train; 0 when done or stopped by --stop-after, 128 + the signal's number when a signal stopped it."""
    from cmbinpaint.training import Recipe, train  # torch: only when it runs

    recipe = Recipe.read(args.recipe)
    folder = Path(args.output or f"runs/{recipe.name}")
    outputs.refuse_folder(folder)
    result = train(
        recipe,
        folder,
        resume=not args.no_resume,
        resume_from=args.resume_from,
        device=args.device,
        stop_after=args.stop_after,
    )
    if int(os.environ.get("RANK", "0")) > 0:  # of several processes the first one speaks
        return 0 if result.signal is None else 128 + result.signal
    state = "done" if result.finished else "stopped; the same command resumes"
    print(f"{recipe.name}: step {result.step} of {result.steps}, {state}")
    if result.score is not None:
        print(f"validation: {result.score.summary()}")
    print(f"checkpoints and logs: {result.out_dir}")
    if result.weights is not None:
        print(f"network: {result.weights}")
    return 0 if result.signal is None else 128 + result.signal


def _positive(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of steps; give 1 or more")
    return number
