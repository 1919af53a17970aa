"""`cmbinpaint batch` and `collect`, run as users run them, on small files."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import healpy as hp
import numpy as np
import pytest

from cmbinpaint import cli, inpaint_map, load_plan, read_map, write_map
from cmbinpaint.commands import batch as command
from cmbinpaint.sims import fiducial_cl, simulate_sky

NSIDE, FWHM, NOISE = 8, 0.3, 3.0
CL = fiducial_cl(40)
VALID = np.abs(np.arange(12 * NSIDE**2) - 384) > 60
ONE_MAP = ["inpaint", "sims/s0.fits", "--mask", "mask.fits", "--seed", "4"]
KNOWN = [
    "--cl",
    "cl.txt",
    "--fwhm-arcmin",
    repr(float(np.degrees(FWHM) * 60)),
    "--noise-std",
    "3",
    "--seed",
    "4",
]


@pytest.fixture
def maps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with four simulations, their mask and their spectrum; the working directory."""
    (tmp_path / "sims").mkdir()
    for i in range(4):
        sky = simulate_sky(CL[: 3 * NSIDE], NSIDE, fwhm=FWHM, pixwin=True, noise_std=NOISE, seed=i)
        write_map(tmp_path / "sims" / f"s{i}.fits", sky.astype("f4"), unit="uK_CMB", ordering="NESTED")
    write_map(tmp_path / "mask.fits", VALID.astype("u1"), unit=None)
    lines = [f"{ell} {cl:.17e}\n" for ell, cl in enumerate(CL)]
    (tmp_path / "cl.txt").write_text("# ell C_ell [uK^2]\n" + "".join(lines))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def words(outdir: str, *more: object, masked: bool = True) -> list[str]:
    mask = ["--mask", "mask.fits"] if masked else []
    return ["batch", "sims/*.fits", *mask, *KNOWN, "--outdir", outdir, *map(str, more)]


def run(outdir: str, *more: object) -> int:
    return cli.main(words(outdir, *more))


def contents(folder: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(folder).glob("*.fits")}


def test_each_map_is_what_inpaint_map_makes_of_it(maps: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("a", "--realizations", 2, "--save", "map,holes,alm,cl") == 0
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(said) == 8 and {one["status"] for one in said} == {"done"}
    assert sorted(p.name for p in Path("a").glob("s0*")) == sorted(
        f"s0_{kind}_{i:03d}.fits" for kind in ("filled", "holes", "alm", "cl") for i in range(2)
    )
    seeds = {one["map"]: one["seed"] for one in said}
    assert len(set(seeds.values())) == 4
    for name, seed in seeds.items():
        sky = read_map(name)[0]
        expected = inpaint_map(
            sky, VALID, cl=CL, fwhm=FWHM, noise_std=NOISE, unit="uK", seed=seed, n_realizations=2
        )
        for i in range(2):
            stem = f"a/{Path(name).stem}"
            filled, info = read_map(f"{stem}_filled_{i:03d}.fits")
            np.testing.assert_array_equal(filled, expected[i])
            assert (info.ordering, info.unit, info.header["REALIZ"], info.header["SEED"]) == (
                "NESTED",
                "uK_CMB",
                i,
                seed,
            )
            full = filled.astype(np.float64)
            np.testing.assert_allclose(hp.read_cl(f"{stem}_cl_{i:03d}.fits"), hp.anafast(full), rtol=1e-10)
            alm = hp.read_alm(f"{stem}_alm_{i:03d}.fits")
            np.testing.assert_allclose(alm, hp.map2alm(full, lmax=3 * NSIDE - 1), atol=1e-10 * full.std())
            holes = read_map(f"{stem}_holes_{i:03d}.fits")[0]
            assert np.array_equal(holes[~VALID], filled[~VALID]) and np.all(holes[VALID] == hp.UNSEEN)
    # Holes alone are a fraction of the map.
    header = 2 * 2880 + 3 * 2880
    assert Path("a/s0_holes_000.fits").stat().st_size <= header + 2880 * (1 + 8 * (~VALID).sum() // 2880)


def test_shares_workers_and_order_give_the_same_bytes(maps: Path) -> None:
    assert run("a", "--realizations", 2) == 0
    assert (
        run("b", "--realizations", 2, "--shard", "2/3") == 0
        and run("b", "--realizations", 2, "--shard", "3/3") == 0
    )
    before = contents("b")
    assert 4 <= len(before) < 8
    assert run("b", "--realizations", 2, "--workers", 2) == 0
    assert contents("b") == contents("a") and len(contents("a")) == 8
    assert Path("a/batch.plan").read_bytes() == Path("b/batch.plan").read_bytes()
    # A map's seed is its name's: the others do not matter.
    shutil.copytree("sims", "few")
    Path("few/s0.fits").unlink()
    assert cli.main(["batch", "few/*.fits", *words("c", "--realizations", 2)[2:]]) == 0
    assert contents("c") == {name: one for name, one in contents("a").items() if not name.startswith("s0")}


def test_what_exists_is_skipped_and_what_is_missing_is_made(
    maps: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("a") == 0
    before, one = contents("a"), Path("a/s2_filled.fits")
    times = {path: path.stat().st_mtime_ns for path in Path("a").glob("*.fits")}
    one.unlink()
    capsys.readouterr()
    assert run("a", "--summary") == 0 and capsys.readouterr().out == "3 of 4 done, 0 failed, 1 left\n"
    assert run("a") == 0
    said = capsys.readouterr()
    assert [json.loads(line)["map"] for line in said.out.splitlines()] == ["sims/s2.fits"]
    assert "3 of 4 were there already" in said.err
    assert contents("a") == before
    assert all(path.stat().st_mtime_ns == t for path, t in times.items() if path != one)


def test_collect_puts_holes_back(maps: Path) -> None:
    assert run("a", "--save", "holes") == 0 and run("b") == 0
    assert cli.main(["collect", "a/*_holes.fits", "--maps", "sims", "--outdir", "c"]) == 0
    assert sorted(contents("c")) == sorted(contents("b")) and len(contents("c")) == 4
    for name in contents("b"):
        (one, said), (other, expected) = read_map(f"c/{name}"), read_map(f"b/{name}")
        np.testing.assert_array_equal(one, other)
        assert dict(said.header) == dict(expected.header) | {"CHECKSUM": said.header.get("CHECKSUM")} or {
            k for k in expected.header if said.header.get(k) != expected.header[k]
        } <= {"CHECKSUM", "DATASUM"}


def test_collect_refuses_another_map(maps: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("a", "--save", "holes") == 0
    shutil.copytree("sims", "others")
    shutil.copy("sims/s1.fits", "others/s0.fits")
    assert cli.main(["collect", "a/s0_holes.fits", "--maps", "others", "--outdir", "c"]) == 1
    assert "others/s0.fits is not the map that a/s0_holes.fits was filled in" in capsys.readouterr().err
    assert cli.main(["collect", "sims/s0.fits", "--maps", "others", "--outdir", "c"]) == 1
    assert "is not a file of `batch --save holes`: it names no map" in capsys.readouterr().err
    assert not contents("c")


def test_mean_and_standard_deviation_are_of_all_fills(maps: Path, capsys: pytest.CaptureFixture[str]) -> None:
    both = ["--mean-map", "mean.fits", "--std-map", "std.fits"]
    assert run("a", "--realizations", 2, "--shard", "1/2", *both) == 0
    assert "--mean-map and --std-map wait for 4 fills of other shares" in capsys.readouterr().err
    assert not Path("mean.fits").exists()
    assert run("a", "--realizations", 2, "--shard", "2/2", *both) == 0
    fills = np.array([read_map(path)[0] for path in sorted(Path("a").glob("*filled*"))], dtype=np.float64)
    assert len(fills) == 8
    mean, info = read_map("mean.fits")
    np.testing.assert_allclose(mean, fills.mean(0), rtol=1e-12)
    np.testing.assert_allclose(read_map("std.fits")[0], fills.std(0, ddof=1), rtol=1e-11)
    assert (info.header["NFILLS"], info.header.get("MAPFILE"), info.unit) == (8, None, "uK_CMB")
    write_map("std.fits", mean, unit="uK", overwrite=True)
    assert run("a", "--realizations", 2, *both) == 1
    assert "std.fits exists already and is not of this batch" in capsys.readouterr().err


def test_one_bad_map_is_named_and_the_rest_is_filled(maps: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_map("sims/s1.fits", np.ones(192) * np.arange(192), unit="uK_CMB", overwrite=True)
    Path("sims/s2.fits").write_bytes(b"nothing")
    assert run("a") == 1
    said = capsys.readouterr()
    assert (
        "2 of 4 failed, the others are done: sims/s1.fits: the mask has nside 8, the map nside 4" in said.err
    )
    assert sorted(contents("a")) == ["s0_filled.fits", "s3_filled.fits"]
    assert [json.loads(line)["status"] for line in said.out.splitlines()] == [
        "done",
        "failed",
        "failed",
        "done",
    ]
    assert run("a", "--summary") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "2 of 4 done, 2 failed, 0 left" and lines[2].startswith("failed: sims/s2.fits: ")


@pytest.mark.parametrize(
    ("more", "code", "says"),
    [
        (["--shard", "3/2"], 2, "got '3/2'; expected I/N with 1 <= I <= N, as 2/8"),
        (["--shard", "0/2"], 2, "got '0/2'; expected I/N"),
        (["--save", "maps"], 2, "got 'maps'; known: map, holes, alm, cl"),
        (["--workers", "2", "--mpi"], 1, "--workers and --mpi were given; give one of them"),
        (["--save", "cl", "--mean-map", "m.fits"], 1, "add map to --save"),
        (["--fill", "prediction", "--realizations", "2"], 1, "a prediction is one map"),
        (["--outdir", "sims"], 1, "sims/s0.fits is in --outdir sims, where results are written"),
        (["--mean-map", "cl.txt"], 1, "cl.txt is an input; it is never overwritten"),
    ],
)  # fmt: skip
def test_contradictions_are_refused_before_the_work(
    maps: Path, capsys: pytest.CaptureFixture[str], more: list[str], code: int, says: str
) -> None:
    assert run("a", *more) == code
    assert says in capsys.readouterr().err and not Path("a").exists()


def test_maps_that_cannot_be_told_apart_are_refused(maps: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["batch", "none/*.fits", *words("a")[2:]]) == 1
    assert "none/*.fits matches no file; give maps, or a pattern in quotes" in capsys.readouterr().err
    shutil.copytree("sims", "more")
    assert cli.main(["batch", "sims/*.fits", "more/s1.fits", *words("a")[2:]]) == 1
    assert "sims/s1.fits and more/s1.fits would both be written as s1_filled.fits" in capsys.readouterr().err


def test_a_folder_of_another_batch_is_refused(maps: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("a", "--shard", "1/4") == 0
    before = contents("a")
    assert run("a", "--guard", 1) == 1
    assert "a holds a batch with another mask, model, version or options" in capsys.readouterr().err
    assert run("a", "--seed", 5) == 1
    assert "a holds a batch with --seed 4; give it, or another --outdir" in capsys.readouterr().err
    write_map("a/s1_filled.fits", np.arange(768.0), unit="K")
    assert run("a") == 1
    assert "a/s1_filled.fits is of another batch (none)" in capsys.readouterr().err
    Path("a/s1_filled.fits").unlink()
    shutil.copy("sims/s3.fits", "sims/s0.fits")
    assert run("a") == 1
    assert (
        "a/s0_filled.fits was made of another sims/s0.fits, which has changed since"
        in capsys.readouterr().err
    )
    assert contents("a") == before


def test_without_a_seed_the_folder_keeps_one(maps: Path) -> None:
    unseeded = [word for word in words("a", "--shard", "1/2") if word not in ("--seed", "4")]
    assert cli.main(unseeded) == 0
    seed = json.loads(Path("a/batch.json").read_text())["seed"]
    assert cli.main([*unseeded, "--shard", "2/2"]) == 0
    assert run("b", "--seed", seed) == 0
    assert contents("a") == contents("b") and len(contents("a")) == 4


def test_a_plan_of_another_mask_is_refused(maps: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_map("other.fits", np.roll(VALID, 7).astype("u1"), unit=None)
    assert (
        cli.main(
            ["inpaint", "sims/s0.fits", "--mask", "other.fits", *KNOWN, "-o", "o.fits", "--plan", "o.plan"]
        )
        == 0
    )
    assert "o.plan: the plan, for the next map with this mask and sky model" in capsys.readouterr().out
    for n in (1, 2):
        assert run("a", "--plan", "o.plan", "--workers", n) == 1
        assert "o.plan is the plan of another mask" in capsys.readouterr().err
    assert not contents("a") and load_plan("o.plan").sky_model is not None


def test_inpaint_reads_and_writes_plans(maps: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = ["inpaint", "sims/s0.fits", "--seed", "4", "--plan", "a.plan"]
    assert cli.main([*one, "--mask", "mask.fits", *KNOWN, "-o", "a.fits"]) == 0
    # The plan holds the mask and what is known of the sky.
    assert cli.main([*one, "-o", "b.fits"]) == 0
    assert cli.main([*one, "--mask", "mask.fits", *KNOWN, "-o", "c.fits"]) == 0
    (a, said), (b, _), (c, _) = (read_map(f"{name}.fits") for name in "abc")
    np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(a, c)
    assert np.any(a != read_map("sims/s0.fits")[0]) and said.history[1].startswith("sky model, in uK_CMB: ")
    capsys.readouterr()
    assert cli.main([*one, "--noise-std", "5", "-o", "d.fits"]) == 1
    assert "the plan is for another sky model" in capsys.readouterr().err
    assert cli.main([*one[:-1], "cl.txt", "-o", "d.fits"]) == 1
    assert "cl.txt is not a plan that cmbinpaint saved" in capsys.readouterr().err
    assert not Path("d.fits").exists()


def test_the_sky_model_of_a_plan_is_part_of_the_job(maps: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Fills under a plan's spectrum and under one estimated from the map are no series."""
    given = [*ONE_MAP, "--plan", "given.plan"]
    assert cli.main([*given, "--cl", "cl.txt", *KNOWN[2:6], "-o", "a.fits"]) == 0
    series = [*ONE_MAP, "-o", "r.fits", "--realizations"]
    assert cli.main([*series, "1"]) == 0
    assert cli.main([*series, "2", "--plan", "given.plan"]) == 1
    expected = "r_000.fits exists already and was made with another map, mask, model, sky model or options"
    assert expected in capsys.readouterr().err and not Path("r_001.fits").exists()
    many = ["batch", "sims/*.fits", "--mask", "mask.fits", "--seed", "4", "--outdir", "a", "--shard", "1/4"]
    assert cli.main(many) == 0
    assert cli.main([*many[:-2], "--plan", "given.plan"]) == 1
    assert "a holds a batch with another mask, model, version or options" in capsys.readouterr().err
    assert len(contents("a")) == 1


def test_a_series_goes_on_with_the_plan_that_it_made(maps: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [*ONE_MAP, "--plan", "r.plan", "-o", "r.fits"]
    assert cli.main([*words, "--realizations", "1"]) == 0 and Path("r.plan").exists()
    capsys.readouterr()
    assert cli.main([*words, "--realizations", "2"]) == 0
    assert "1 of 2 realizations are there already" in capsys.readouterr().out
    plain = [*words[:-4], "-o", "p.fits", "--realizations", "2"]
    assert cli.main(plain) == 0
    for i in range(2):
        np.testing.assert_array_equal(read_map(f"r_00{i}.fits")[0], read_map(f"p_00{i}.fits")[0])


def test_a_job_script_that_bash_reads(maps: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("it's", "--workers", 1, "--print-slurm", 2, "--shard", "1/2") == 0
    script = capsys.readouterr().out
    assert not Path("it's").exists()
    for line in (
        "#SBATCH --array=1-2",
        "#SBATCH --cpus-per-task=1",
        "#SBATCH --signal=USR1@",
        "#SBATCH --time=00:",
    ):
        assert f"\n{line}" in script
    assert (
        script.startswith("#!/bin/bash\n") and "OMP_NUM_THREADS=1" in script and "--print-slurm" not in script
    )
    if shutil.which("bash") is None:
        pytest.skip("no bash on this system")
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    # Run it as an array would: `srun` here runs the command itself.
    fake = f'srun() {{ shift; "{sys.executable}" -m "$@"; }}\n'
    code = 0
    for task in (2, 1):
        env = os.environ | {
            "SLURM_ARRAY_TASK_ID": str(task),
            "SLURM_ARRAY_TASK_COUNT": "2",
            "SLURM_CPUS_PER_TASK": "1",
        }
        env["PYTHONPATH"] = str(Path(cli.__file__).parents[1])
        code += subprocess.run(
            ["bash"], input=fake + script, text=True, env=env, capture_output=True
        ).returncode
    assert code == 0 and len(contents("it's")) == 4


def start(*more: object) -> subprocess.Popen[str]:
    env = os.environ | {"PYTHONPATH": str(Path(cli.__file__).parents[1])}
    every = [sys.executable, "-m", "cmbinpaint", *words("a", "--realizations", 100, *more)]
    return subprocess.Popen(every, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="signals as on POSIX")
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    ("number", "code", "says"),
    [
        (signal.SIGUSR1, command.STOPPED, "stopped by SIGUSR1; the same command"),
        (signal.SIGTERM, 143, "terminated"),
    ],
    ids=["USR1", "TERM"],
)
def test_a_signal_ends_it_between_maps(maps: Path, workers: int, number: int, code: int, says: str) -> None:
    process = start("--workers", workers)
    assert process.stdout is not None
    first = process.stdout.readline()
    process.send_signal(number)
    rest, err = process.communicate(timeout=120)
    assert process.returncode == code and says in err
    done = [json.loads(line) for line in [first, *rest.splitlines()]]
    assert 1 <= len(done) < 100 and {one["status"] for one in done} == {"done"}
    assert all(np.isfinite(read_map(path)[0]).all() for path in contents_paths())
    assert len(contents_paths()) >= len(done)


def contents_paths() -> list[Path]:
    return sorted(Path("a").glob("*.fits"))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes as on POSIX")
def test_workers_end_with_their_parent(maps: Path) -> None:
    process = start("--workers", 2)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.readline()
    process.kill()
    process.communicate(timeout=60)
    for _ in range(100):
        count = len(contents_paths())
        time.sleep(0.3)
        if len(contents_paths()) == count:
            break
    assert len(contents_paths()) == count < 400, "orphans go on"


def test_a_full_disk_stops_it_and_keeps_what_is_done(maps: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("a", "--shard", "1/4") == 0
    before, limit = contents("a"), resource.getrlimit(resource.RLIMIT_FSIZE)
    capsys.readouterr()
    resource.setrlimit(resource.RLIMIT_FSIZE, (9000, limit[1]))
    try:
        code = run("a")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    said = capsys.readouterr()
    assert code == 1 and "a/s1_filled.fits cannot be written: File too large" in said.err
    assert "what was finished is kept" in said.err and said.out == ""
    assert contents("a") == before
    assert run("a") == 0 and len(contents("a")) == 4
