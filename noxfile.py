"""The tests on every Python that is installed: `pip install nox`, then `nox`. `nox -s package` checks what ships.

Networks are tested where there is a CPU build of torch; where not, the tests that need it are skipped and say so.
"""

import nox

PYTHONS = ("3.11", "3.12", "3.13")
TORCH = ("torch", "--index-url", "https://download.pytorch.org/whl/cpu", "--retries", "0", "--timeout", "20")
nox.options.sessions = ["tests"]
nox.options.error_on_missing_interpreters = False


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the tests, the core's alone first; arguments after `--` go to pytest."""
    pinned = ("-c", "constraints.txt")
    session.install(*pinned, "-e", ".[test]")
    session.run("python", "tests/core_alone.py", silent=True)
    session.install(*pinned, *TORCH, success_codes=[0, 1], silent=True)
    has_torch = session.run("python", "-c", "import torch", success_codes=[0, 1], silent=True) == ""
    session.install(*pinned, "-e", ".[all]" if has_torch else ".[theory]")
    options = session.posargs or ["-n", "2", "--dist", "loadfile"]
    session.run("python", "-m", "pytest", "-rs", *options, env={"OMP_NUM_THREADS": "1"})


@nox.session
def package(session: nox.Session) -> None:
    """Build the wheel and the source distribution, and check what PyPI will show of them."""
    session.install("build", "twine")
    folder = session.create_tmp()
    session.run("python", "-m", "build", "--outdir", folder)
    session.run("sh", "-c", f"python -m twine check --strict {folder}/*", external=True)
