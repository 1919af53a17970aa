"""Dask and MPI give the same bits as one process, where they are installed: benchmarks/executors.py as users run it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def rows(*words: str) -> list[dict[str, Any]]:
    """What the script prints, a line for each executor."""
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    script = [str(ROOT / "benchmarks" / "executors.py"), "--nside", "8", "--maps", "6"]
    at = words.index("SCRIPT")
    command = [*words[:at], *script, *words[at + 1 :]]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def test_dask_gives_the_same_bits_with_a_worker_killed_on_the_way() -> None:
    pytest.importorskip("distributed", reason="Dask is not installed: pip install distributed")
    found = rows(sys.executable, "SCRIPT", "dask", "dask-killed")
    assert [(row["executor"], row["equal"], row["failed"]) for row in found] == [
        ("dask", 6, {}),
        ("dask-killed", 6, {}),
    ]


def test_mpi_gives_the_same_bits() -> None:
    pytest.importorskip("mpi4py", reason="mpi4py is not installed: pip install mpi4py mpich")
    mpiexec = Path(sys.executable).with_name("mpiexec")
    found = str(mpiexec) if mpiexec.exists() else shutil.which("mpiexec")
    if found is None:
        pytest.skip("no mpiexec on this system: pip install mpich")
    one = rows(found, "-n", "2", sys.executable, "-m", "mpi4py.futures", "SCRIPT", "mpi")
    assert [(row["executor"], row["equal"], row["failed"]) for row in one] == [("mpi", 6, {})]
