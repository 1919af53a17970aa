"""The tests on every Python that is installed: `pip install nox`, then `nox`. `nox -s package` checks what is published.

Extras are installed where there are wheels of them; where not, the tests that need them are skipped and say so.
"""

import nox

PYTHONS = ("3.11", "3.12", "3.13")
nox.options.sessions = ["tests"]
nox.options.error_on_missing_interpreters = False


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the tests; arguments after `--` go to pytest."""
    session.install("-c", "constraints.txt", "-e", ".[test]")
    session.run("python", "tests/core_alone.py", silent=True, env={"PYTHONPATH": "."})
    session.install("-c", "constraints.txt", "-e", ".[all]", success_codes=[0, 1], silent=True)
    options = session.posargs or ["-n", "2", "--dist", "loadfile"]
    session.run("python", "-m", "pytest", "-rs", *options, env={"OMP_NUM_THREADS": "1"})


@nox.session
def package(session: nox.Session) -> None:
    """Build the wheel and the source distribution, and check what PyPI will show of them."""
    session.install("build", "twine")
    folder = session.create_tmp()
    session.run("python", "-m", "build", "--outdir", folder)
    session.run("sh", "-c", f"python -m twine check --strict {folder}/*", external=True)
