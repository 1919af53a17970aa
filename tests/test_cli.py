"""The command line: what it imports, what it says, and the code it leaves with."""

import logging
import os
import signal
import subprocess
import sys
import time
import types
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

import cmbinpaint
from cmbinpaint import cli
from cmbinpaint.errors import CmbInpaintError, CmbInpaintWarning, MapError

HEAVY = ("torch", "healpy", "ducc0", "camb", "matplotlib", "scipy", "astropy", "numpy", "safetensors", "tqdm")


def modules_after(code: str) -> list[str]:
    script = f"import sys\n{code}\nprint('\\n' + ' '.join(sys.modules))"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return result.stdout.splitlines()[-1].split()


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put a command named `probe` that does what the test wants."""

    def install(run: Callable[..., int], **options: object) -> None:
        module = types.ModuleType("cmbinpaint.commands.probe")

        def add_arguments(parser) -> None:
            parser.add_argument("--fill", choices=["realization", "prediction"])
            parser.add_argument("--seed", type=int)

        module.add_arguments, module.run = add_arguments, run
        monkeypatch.setitem(sys.modules, "cmbinpaint.commands.probe", module)
        monkeypatch.setitem(cli.COMMANDS, "probe", "do what the test wants")

    return install


@pytest.mark.parametrize(
    "code",
    [
        "import cmbinpaint",
        "from cmbinpaint import cli; cli.main(['--help'])",
        "from cmbinpaint import cli; cli.main(['--version'])",
    ],
)
def test_nothing_heavy_is_imported_before_a_command_runs(code: str) -> None:
    assert not set(HEAVY) & {name.partition(".")[0] for name in modules_after(code)}


@pytest.mark.parametrize("name", list(cli.COMMANDS))
def test_the_help_of_a_command_imports_nothing_heavy_but_numpy(name: str) -> None:
    loaded = modules_after(f"from cmbinpaint import cli; assert cli.main([{name!r}, '--help']) == 0")
    assert not (set(HEAVY) - {"numpy"}) & {module.partition(".")[0] for module in loaded}


def test_help_lists_every_command(capsys) -> None:
    assert cli.main(["--help"]) == 0
    out = capsys.readouterr().out
    for name, what in cli.COMMANDS.items():
        assert name in out and what in out
    assert cli.main([]) == 0 and capsys.readouterr().out == out


def test_every_command_has_a_module_with_the_two_functions() -> None:
    folder = Path(cmbinpaint.__file__).parent / "commands"
    assert sorted(cli.COMMANDS) == sorted(p.stem for p in folder.glob("[!_]*.py"))


def test_version(capsys) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"cmbinpaint {cmbinpaint.__version__}\n"


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (["inpiant"], "unknown command 'inpiant'; did you mean inpaint? (known: demo, inpaint, "),
        (["xyzzy"], "unknown command 'xyzzy' (known: demo, inpaint, "),
        (["--dbug"], "unknown option --dbug; did you mean --debug? (see `cmbinpaint --help`)"),
        (["--debug"], None),
        (
            ["probe", "--fil", "prediction"],
            "unknown option --fil; did you mean --fill? (see `cmbinpaint probe",
        ),
        (["probe", "--fill", "x"], "argument --fill: invalid choice: 'x' (choose from"),
        (["probe", "--seed", "x"], "argument --seed: invalid int value: 'x'"),
        (["probe", "map.fits"], "unexpected argument 'map.fits'"),
        (["probe", "--seed"], "argument --seed: expected one argument"),
    ],
)
def test_wrong_usage_is_one_line_and_code_2(argv, text, command, capsys) -> None:
    command(lambda args: 0)
    assert cli.main(argv) == 2
    err = capsys.readouterr().err
    if text is not None:
        assert err.startswith(f"cmbinpaint: error: {text}") and err.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (MapError("got 5 pixels;\n  expected 12 nside²"), "got 5 pixels; expected 12 nside²"),
        (CmbInpaintError("plain"), "plain"),
        (FileNotFoundError(2, "No such file or directory", "a.fits"), "a.fits: No such file or directory"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (MemoryError(), "out of memory; try --max-memory or a lower nside"),
        (ZeroDivisionError("x/0"), "unexpected ZeroDivisionError: x/0; this is a bug, --debug shows where"),
    ],
)
def test_an_error_is_one_line_without_a_traceback_and_code_1(error, line, command, capsys) -> None:
    def run(args) -> int:
        raise error

    command(run)
    assert cli.main(["probe"]) == 1
    captured = capsys.readouterr()
    assert captured.err == f"cmbinpaint: error: {line}\n" and captured.out == ""
    for argv in (["probe", "--debug"], ["--debug", "probe"]):
        assert cli.main(argv) == 1
        err = capsys.readouterr().err
        assert "Traceback" in err and err.endswith(f"cmbinpaint: error: {line}\n")


def test_ctrl_c_is_130(command, capsys) -> None:
    def run(args) -> int:
        raise KeyboardInterrupt

    command(run)
    assert cli.main(["probe"]) == 130
    assert capsys.readouterr().err == "cmbinpaint: error: interrupted; no half-written file was left\n"


def test_sigterm_unwinds_and_is_143(command, capsys) -> None:
    cleaned = []

    def run(args) -> int:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        finally:
            cleaned.append(True)
        return 0

    command(run)
    handler = signal.getsignal(signal.SIGTERM)
    assert cli.main(["probe"]) == 143 and cleaned
    assert (
        capsys.readouterr().err == "cmbinpaint: error: terminated (SIGTERM); no half-written file was left\n"
    )
    assert signal.getsignal(signal.SIGTERM) == handler


def test_warnings_of_the_package_are_one_line_and_once(command, capsys) -> None:
    def run(args) -> int:
        for _ in range(3):
            warnings.warn("3 pixels are NaN\nin the map", CmbInpaintWarning, stacklevel=1)
        warnings.warn("of another library", UserWarning, stacklevel=1)
        return 0

    command(run)
    assert cli.main(["probe"]) == 0
    assert capsys.readouterr().err == "cmbinpaint: warning: 3 pixels are NaN in the map\n"
    cli.main(["probe", "--debug"])
    assert "cmbinpaint: warning: UserWarning: of another library\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "lines"),
    [([], ["w"]), (["--verbose"], ["i", "w"]), (["--debug"], ["d", "i", "w"])],
)
def test_the_log_is_quiet_unless_asked(flags, lines, command, capsys) -> None:
    def run(args) -> int:
        log = logging.getLogger("cmbinpaint.pipeline")
        log.debug("d"), log.info("i"), log.warning("w")
        return 0

    command(run)
    assert cli.main(["probe", *flags]) == 0
    assert capsys.readouterr().err.splitlines() == [f"cmbinpaint: {line}" for line in lines]
    assert logging.getLogger("cmbinpaint").handlers == []


def test_a_command_can_run_another_and_gets_its_code(command, capsys) -> None:
    def run(args) -> int:
        return args.invoke(["nonsense"]) if args.seed is None else 0

    command(run)
    assert cli.main(["probe"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert cli.main(["probe", "--seed", "0"]) == 0


def test_a_reader_that_leaves_early_makes_no_noise() -> None:
    script = "from cmbinpaint.cli import main; import sys; sys.exit(main(['--help']))"
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() in (0, 1)


def test_python_dash_m_is_the_same_command() -> None:
    result = subprocess.run([sys.executable, "-m", "cmbinpaint", "nonsense"], capture_output=True, text=True)
    assert result.returncode == 2 and result.stderr.startswith(
        "cmbinpaint: error: unknown command 'nonsense'"
    )
