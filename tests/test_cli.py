"""The command line: what it imports, what it says, and the code it leaves with."""

import io
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import types
import warnings
import weakref
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
        (
            ["--dbug"],
            "unknown option --dbug; did you mean --debug? (known: --help, --version, --verbose, --debug)",
        ),
        (["--debug"], None),
        (
            ["probe", "--fil", "prediction"],
            "unknown option --fil; did you mean --fill? (known: --help, --fill, --seed, --verbose",
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


class Thing:
    """What a weak reference can point to."""


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["term", "int"]
)
@pytest.mark.parametrize("seconds", [0.0, 20.0], ids=["done at once", "goes on"])
def test_a_signal_in_a_callback_whose_errors_are_dropped_is_not_lost(
    number, code, seconds, command, capsys
) -> None:
    if number == signal.SIGINT:  # a shell's background job is started with it ignored
        signal.signal(number, signal.default_int_handler)

    def run(args) -> int:
        def callback(_: object) -> None:  # as in a garbage collection during the work
            signal.raise_signal(number)
            list(range(100))

        thing = Thing()
        reference = weakref.ref(thing, callback)
        del thing
        assert reference() is None
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(0.01)
        return 0

    command(run)
    before, start = (signal.getsignal(number), sys.unraisablehook), time.monotonic()
    assert cli.main(["probe"]) == code
    assert time.monotonic() - start < 10 and (signal.getsignal(number), sys.unraisablehook) == before
    assert capsys.readouterr().err.count("\n") == 1


SIGNS = "µK² ± σ ≤ 1° × é 天"


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("utf-8", SIGNS), ("ascii", "uK^2 +- sigma <= 1 deg x e ?"), ("latin-1", "µK² ± sigma <= 1° × é ?"),
        ("cp932", "uK^2 ± σ <= 1° × e 天"), ("gbk", "uK^2 ± σ ≤ 1° × é 天"),
    ],
)  # fmt: skip
def test_text_is_spelled_out_where_the_console_has_no_sign_for_it(
    encoding, text, command, monkeypatch
) -> None:
    def run(args) -> int:
        sys.stdout.write(f"{SIGNS}\n")
        warnings.warn(SIGNS, CmbInpaintWarning, stacklevel=1)
        raise MapError(SIGNS)

    command(run)
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2))
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    assert cli.main(["probe"]) == 1
    said = [stream.buffer.getvalue().decode(encoding).splitlines() for stream in (out, err)]
    assert said == [[text], [f"cmbinpaint: warning: {text}", f"cmbinpaint: error: {text}"]]
    assert (out.errors, err.errors) == ("strict", "strict")


@pytest.mark.parametrize("name", list(cli.COMMANDS))
def test_every_help_can_be_read_on_any_console(name: str, monkeypatch) -> None:
    for encoding in ("ascii", "cp932", "gbk"):
        stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        monkeypatch.setattr(sys, "stdout", stream)
        assert cli.main([name, "--help"]) == 0
        said = stream.buffer.getvalue().decode(encoding)
        assert said.startswith(f"usage: cmbinpaint {name}") and "?" not in said


@pytest.mark.skipif(sys.platform == "win32", reason="a shell that closes streams is needed")
@pytest.mark.parametrize("closed", [">&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_without_streams_a_command_works_and_writes_its_own_file_only(closed: str, tmp_path: Path) -> None:
    words = "-m cmbinpaint simulate --nside 2 --seed 1 -o"
    for name, how in (("a.fits", closed), ("b.fits", "")):
        done = subprocess.run(f"{sys.executable} {words} {name} {how}", shell=True, cwd=tmp_path, check=True)
        assert done.returncode == 0
    one, other = ((tmp_path / name).read_bytes() for name in ("a.fits", "b.fits"))
    assert one.replace(b"a.fits", b"b.fits")[2880 * 2 :] == other[2880 * 2 :] and len(one) % 2880 == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.fits", "b.fits"]


def test_the_backend_of_a_notebook_is_not_asked_to_draw(command, monkeypatch) -> None:
    module = "module://matplotlib_inline.backend_inline"
    code = (
        "import cmbinpaint.commands._process as process\n"
        "with process.any_console():\n"
        "    import healpy, cmbinpaint.plots, matplotlib; print(matplotlib.get_backend())"
    )
    env = {**os.environ, "MPLBACKEND": module}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip().lower() == "agg"
    monkeypatch.setenv("MPLBACKEND", module)
    seen: list[str] = []
    command(lambda args: seen.append(os.environ["MPLBACKEND"]) or 0)
    assert cli.main(["probe"]) == 0 and seen == ["agg"] and os.environ["MPLBACKEND"] == module


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


def test_errors_of_finalizers_that_are_no_signals_are_told_as_ever(command, capsys) -> None:
    class Broken:
        def __del__(self) -> None:
            raise ValueError("of a finalizer")

    told: list[str] = []

    def run(args) -> int:
        broken = Broken()
        del broken
        return 0

    command(run)
    hook, sys.unraisablehook = sys.unraisablehook, lambda error: told.append(str(error.exc_value))
    try:
        assert cli.main(["probe"]) == 0
    finally:
        sys.unraisablehook = hook
    assert told == ["of a finalizer"]


def test_a_command_runs_in_a_thread(command, capsys) -> None:
    command(lambda args: 0)
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(cli.main(["probe"])))
    thread.start()
    thread.join()
    assert codes == [0]
