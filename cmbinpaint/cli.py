"""The command line: finds the command, runs it, turns what happens into one line and an exit code.

Inputs: arguments. Outputs: `main`, and these exit codes: 0 done, 1 error, 2 wrong usage, 130 interrupted
(SIGINT), 143 terminated (SIGTERM).

Nothing heavy is imported until a command runs. A command is a module of `cmbinpaint.commands` with
`add_arguments(parser)` and `run(args) -> int`; it is imported only when it is named.
"""

import argparse
import difflib
import importlib
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn, TextIO

from cmbinpaint import __version__
from cmbinpaint.commands._process import Terminated, any_console, stopped_by_signals
from cmbinpaint.commands._words import in_options
from cmbinpaint.errors import CmbInpaintError, CmbInpaintWarning

COMMANDS = {
    "demo": "simulate a sky with holes, fill it, and compare power spectra",
    "inpaint": "fill the holes of a HEALPix map",
    "batch": "fill many maps with one mask, on one machine or a cluster",
    "collect": "put the holes that batch wrote back into their maps",
    "splits": "fill splits of one sky together, for their cross spectrum",
    "report": "write a page on a filled map: pictures, spectra, holes, provenance",
    "spectra": "compare the power spectra of a filled map",
    "simulate": "write one simulated sky",
    "dataset": "simulate the patches that a network is trained on",
    "train": "train a network from a recipe",
    "analyze": "look at what a trained network fills: differences, colors, spectra, classes",
    "validate": "measure models against the exact answer, on simulated skies",
    "models": "list the models that can fill a map",
    "info": "describe a map and its holes",
}
# Options of earlier versions, and what they are called now.
FORMER = {"--truth": "--target"}
DONE, ERROR, USAGE, INTERRUPTED, TERMINATED = 0, 1, 2, 130, 143


class UsageError(Exception):
    """The command line does not say what to do."""


class Parser(argparse.ArgumentParser):
    """An argument parser that raises instead of leaving, and suggests the near option."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **kwargs)

    def error(self, message: str) -> NoReturn:
        """Raise `UsageError` where argparse would print and exit."""
        raise UsageError(f"{message} (see `{self.prog} --help`)")

    def parse(self, argv: Sequence[str]) -> argparse.Namespace:
        """Parse everything, or raise `UsageError` naming the first unknown argument."""
        known = [option for action in self._actions for option in action.option_strings]
        for argument in argv:
            if argument == "--":
                break
            name = argument.partition("=")[0]
            if name.startswith("--") and name not in known:
                now = FORMER.get(name)
                if now in known:
                    self.error(f"unknown option {name}; it is {now} now")
                listed = ", ".join(option for option in known if option.startswith("--"))
                self.error(f"unknown option {name}{_suggestion(name, known)} (known: {listed})")
        args, rest = self.parse_known_args(argv)
        if rest:
            self.error(f"unexpected argument {rest[0]!r}{_suggestion(rest[0], known)}")
        return args


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; never raises, never exits.

    Parameters
    ----------
    argv
        The arguments after the program's name; `None`: those of this process.

    Returns
    -------
    int
        The exit code.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    with any_console(), _one_line_warnings(debug), _logging_to_stderr(words):
        try:
            with stopped_by_signals():
                code = _dispatch(words)
                sys.stdout.flush()
            return code
        except UsageError as error:
            return _fail(str(error), USAGE)
        except SystemExit as leaving:  # argparse's --help and --version
            return leaving.code if isinstance(leaving.code, int) else DONE
        except KeyboardInterrupt:
            return _fail("interrupted; no half-written file was left", INTERRUPTED)
        except Terminated:
            return _fail("terminated (SIGTERM); no half-written file was left", TERMINATED)
        except BrokenPipeError:
            _close_quietly(sys.stdout)
            return ERROR
        except Exception as error:
            if debug:
                traceback.print_exc()
            return _fail(_describe(error), ERROR)


def _dispatch(words: list[str]) -> int:
    place = next((i for i, word in enumerate(words) if not word.startswith("-")), len(words))
    head, tail = words[:place], words[place + 1 :]
    parser = _top_parser()
    if place == len(words):
        parser.parse(head)
        parser.print_help()
        return DONE if not words else USAGE
    parser.parse(head)
    name = words[place]
    if name not in COMMANDS:
        known = ", ".join(COMMANDS)
        raise UsageError(f"unknown command {name!r}{_suggestion(name, list(COMMANDS))} (known: {known})")
    command = importlib.import_module(f"cmbinpaint.commands.{name}")
    parser = Parser(prog=f"cmbinpaint {name}", description=COMMANDS[name])
    command.add_arguments(parser)
    _add_general(parser)
    args = parser.parse([*head, *tail])
    args.argv = words
    args.invoke = main  # a command may run another, as a user would; it cannot import this module
    return int(command.run(args))


def _top_parser() -> Parser:
    width = max(map(len, COMMANDS)) + 2
    rows = "\n".join(f"  {name:{width}}{what}" for name, what in COMMANDS.items())
    parser = Parser(
        prog="cmbinpaint",
        usage="cmbinpaint COMMAND ...",
        description="Fill the holes of HEALPix CMB maps, T or T, Q, U, with power spectra you can trust.",
        epilog=f"commands:\n{rows}\n\n`cmbinpaint COMMAND --help` describes one.",
    )
    parser.add_argument("--version", action="version", version=f"cmbinpaint {__version__}")
    _add_general(parser)
    return parser


def _add_general(parser: Parser) -> None:
    group = parser.add_argument_group("general")
    group.add_argument("--verbose", action="store_true", help="say on stderr what is being done")
    group.add_argument("--debug", action="store_true", help="the same in detail, and tracebacks of errors")


def _suggestion(word: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _describe(error: Exception) -> str:
    if isinstance(error, CmbInpaintError):
        return in_options(str(error))
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if isinstance(error, MemoryError):
        return f"out of memory; try --max-memory or a lower nside ({error})".replace(" ()", "")
    return f"unexpected {type(error).__name__}: {error}; this is a bug, --debug shows where"


def _fail(message: str, code: int) -> int:
    _say("error", message)
    return code


def _say(kind: str, message: str) -> None:
    """Print one line to stderr, whatever the message's own line breaks."""
    print(f"cmbinpaint: {kind}: {' '.join(message.split())}", file=sys.stderr, flush=True)


@contextmanager
def _one_line_warnings(debug: bool) -> Iterator[None]:
    """Show the package's own warnings, once each and in one line; others only with --debug."""
    said: set[str] = set()

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        own = issubclass(category, CmbInpaintWarning)
        text = in_options(str(message)) if own else f"{category.__name__}: {message}"
        if text not in said:
            said.add(text)
            _say("warning", text)

    with warnings.catch_warnings():
        warnings.simplefilter("default" if debug else "ignore")
        warnings.filterwarnings("always", category=CmbInpaintWarning)
        warnings.showwarning = show
        yield


@contextmanager
def _logging_to_stderr(words: Sequence[str]) -> Iterator[None]:
    """Show the package's log: warnings always, the rest with --verbose or --debug."""
    debug, verbose = "--debug" in words, "--verbose" in words
    logger = logging.getLogger("cmbinpaint")
    if logger.handlers:  # a command run by another, or a program with its own wishes
        yield
        return
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("cmbinpaint: %(message)s"))
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG if debug else logging.INFO if verbose else logging.WARNING)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


def _close_quietly(stream: TextIO) -> None:
    """Point a stream whose reader has gone at nothing, so that closing it at exit is silent."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    except (OSError, ValueError):
        logging.getLogger(__name__).debug("the output stream has no file behind it")
