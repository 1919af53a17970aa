"""``cmbinpaint train``: train a network from a recipe, resumable at any moment.

Takes: a recipe (a TOML file or the name of a packaged one), an output folder. Gives: checkpoints and logs.
Floor: 7.
"""

import argparse


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


def run(args: argparse.Namespace) -> int:
    """Train; 0 when done or stopped by --stop-after, 128 + the signal's number when a signal stopped it."""
    from cmbinpaint.training import Recipe, train  # torch: only when it runs

    recipe = Recipe.read(args.recipe)
    folder = args.output or f"runs/{recipe.name}"
    result = train(recipe, folder, resume=not args.no_resume, device=args.device, stop_after=args.stop_after)
    state = "done" if result.finished else "stopped; the same command resumes"
    print(f"{recipe.name}: step {result.step} of {result.steps}, {state}")
    if result.score is not None:
        score = result.score
        print(
            f"validation: hole rms {score.hole_rms:.4f} of the field's, first guess {score.guess_rms:.4f}, "
            f"ratio {score.gain:.3f}"
        )
    print(f"checkpoints and logs: {result.out_dir}")
    return 0 if result.signal is None else 128 + result.signal


def _positive(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of steps; give 1 or more")
    return number
