"""Where commands write: no input is replaced, nor what is no plain file, nor what another process made."""

import argparse
import os
import stat
from pathlib import Path

import healpy
import numpy as np
import pytest

from cmbinpaint import cli
from cmbinpaint.commands import _outputs as outputs
from cmbinpaint.errors import OutputError
from cmbinpaint.files import fits
from cmbinpaint.networks.card import Card

NSIDE = 8
NPIX = 12 * NSIDE**2


def args(**given: object) -> argparse.Namespace:
    return argparse.Namespace(argv=["x"], invoke=None, output=Path("out"), **given)


class TestInputs:
    def test_every_argument_that_names_a_file_is_an_input(self, tmp_path: Path) -> None:
        for name in ("a.fits", "b.fits", "c", "out"):
            (tmp_path / name).write_text("x")
        given = args(
            map=tmp_path / "a.fits", filled=[tmp_path / "b.fits", tmp_path / "none"], noise_std=str(tmp_path / "c"),
            seed=3, fill="realization", cl=None, report=tmp_path / "out", odd="\0",
        )  # fmt: skip
        assert outputs.inputs_of(given) == [tmp_path / "a.fits", tmp_path / "b.fits", tmp_path / "c"]

    def test_the_weights_beside_a_card_are_inputs_too(self, tmp_path: Path) -> None:
        for name in ("net.json", "net-0123abcd.safetensors", "other-0123abcd.safetensors"):
            (tmp_path / name).write_text("{}")
        found = outputs.inputs_of(args(model=str(tmp_path / "net.json")))
        assert {path.name for path in found} == {"net.json", "net-0123abcd.safetensors"}

    def test_weights_are_named_as_a_card_names_them(self) -> None:
        """The pattern above is that of `save_weights`."""
        from cmbinpaint.networks import store

        assert 'file=f"{card.name}-{sha256[:8]}.safetensors"' in Path(store.__file__).read_text(
            encoding="utf-8"
        )
        assert Card.__dataclass_fields__["file"]


class TestRefuseOutputs:
    @pytest.mark.parametrize("spelling", ["itself", "symlink", "hard link", "dots", "symlinked folder"])
    @pytest.mark.parametrize("overwrite", [False, True])
    def test_an_input_in_any_spelling(self, spelling: str, overwrite: bool, tmp_path: Path) -> None:
        there = tmp_path / "a.fits"
        there.write_text("x")
        output = tmp_path / "b.fits"
        if spelling == "itself":
            output = there
        elif spelling == "symlink":
            output.symlink_to(there)
        elif spelling == "hard link":
            os.link(there, output)
        elif spelling == "dots":
            (tmp_path / "d").mkdir()
            output = tmp_path / "d" / ".." / "a.fits"
        else:
            (tmp_path / "d").symlink_to(tmp_path)
            output = tmp_path / "d" / "a.fits"
        with pytest.raises(OutputError, match=f"{output} is an input; it is never overwritten: give another"):
            outputs.refuse_outputs(args(anything=str(there)), [output], overwrite=overwrite)

    def test_what_exists(self, tmp_path: Path) -> None:
        there, dangling = tmp_path / "a.fits", tmp_path / "link"
        there.write_text("x")
        dangling.symlink_to(tmp_path / "nowhere")
        for output in (there, dangling):
            with pytest.raises(OutputError, match="exists already; give another output, or --overwrite"):
                outputs.refuse_outputs(args(), [output], overwrite=False)
            outputs.refuse_outputs(args(), [output], overwrite=True)

    def test_no_folder_or_a_folder(self, tmp_path: Path) -> None:
        with pytest.raises(OutputError, match=r"cannot be written: the folder .*no does not exist"):
            outputs.refuse_outputs(args(), [tmp_path / "no" / "a.fits"], overwrite=True)
        with pytest.raises(OutputError, match="is a directory; the path of a file was expected"):
            outputs.refuse_outputs(args(), [tmp_path], overwrite=True)

    @pytest.mark.parametrize("overwrite", [False, True])
    def test_what_is_no_plain_file(self, overwrite: bool, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        for output in (tmp_path / "pipe", Path(os.devnull)):
            with pytest.raises(OutputError, match="is not replaced: not a regular file"):
                outputs.refuse_outputs(args(), [output], overwrite=overwrite)

    def test_one_file_under_two_names(self, tmp_path: Path) -> None:
        twice = [tmp_path / "a.fits", None, tmp_path / "." / "b" / ".." / "a.fits"]
        with pytest.raises(
            OutputError, match=r"a\.fits would be written twice; give every output a name of its own"
        ):
            outputs.refuse_twice(twice)
        outputs.refuse_twice([tmp_path / "a.fits", None, None])

    def test_a_folder_below_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_text("x")
        with pytest.raises(
            OutputError, match=f"{tmp_path / 'a'} is not a folder, and files are to be written into"
        ):
            outputs.make_folder(tmp_path / "a" / "b" / "c")
        outputs.make_folder(tmp_path / "b" / "c")
        assert (tmp_path / "b" / "c").is_dir()


def test_a_name_or_a_folder(tmp_path: Path) -> None:
    assert outputs.output_file(str(tmp_path / "a.fits"), "map.fits") == tmp_path / "a.fits"
    assert outputs.output_file(str(tmp_path), "map.fits") == tmp_path / "map.fits"
    assert outputs.output_file(f"{tmp_path}/new/", "map.fits") == tmp_path / "new" / "map.fits"
    assert (tmp_path / "new").is_dir()


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A map with holes and everything that may be given with one; the folder is the current one."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    sky = healpy.smoothing(rng.standard_normal(NPIX), 0.5).astype(np.float32)
    valid = np.arange(NPIX) > 40
    fits.write_map("map.fits", np.where(valid, sky, np.float32(healpy.UNSEEN)), unit="uK_CMB")
    fits.write_map("filled.fits", sky, unit="uK_CMB")
    fits.write_map("target.fits", sky, unit="uK_CMB")
    fits.write_map("error.fits", np.abs(sky), unit="uK_CMB")
    fits.write_map("noise.fits", np.full(NPIX, 0.1), unit="uK_CMB")
    fits.write_map("mask.fits", valid.astype(np.float32))
    np.savetxt("cl.txt", np.ones(3 * NSIDE), header="C_ell [uK^2]")
    (tmp_path / "precious").write_text("precious")
    return tmp_path


FILL = "inpaint map.fits --mask mask.fits --cl cl.txt --noise-std noise.fits --report page "
FILL += "--target target.fits --error-map error.fits --seed 1 --overwrite -o "
SPECTRA = "spectra filled.fits --observed map.fits --target target.fits --mask mask.fits --overwrite -o "


@pytest.mark.parametrize("name", ["map", "mask", "noise", "target", "error"])
def test_inpaint_replaces_no_input(name: str, files: Path, capsys) -> None:
    before = (files / f"{name}.fits").read_bytes()
    assert cli.main([*FILL.split(), f"{name}.fits"]) == 1
    assert capsys.readouterr().err == (
        f"cmbinpaint: error: {name}.fits is an input; it is never overwritten: give another output\n"
    )
    assert (files / f"{name}.fits").read_bytes() == before
    (files / "link.fits").symlink_to(f"{name}.fits")
    assert cli.main([*FILL.split(), "link.fits"]) == 1
    assert (files / f"{name}.fits").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "target"),
    [
        (FILL + "cl.txt", "cl.txt"),
        ("simulate --nside 8 --cl cl.txt --overwrite -o cl.txt", "cl.txt"),
        ("simulate --nside 8 --noise-std noise.fits --overwrite -o noise.fits", "noise.fits"),
        ("report map.fits filled.fits --target page/report.html --overwrite -o page", "page/report.html"),
        (SPECTRA + "inputs.csv", "inputs.csv"),
        (SPECTRA + "inputs.json", "inputs.png"),
        ("validate --nside 8 --skies 2 --mask v/validation.json --overwrite -o v", "v/validation.json"),
    ],
)
def test_no_command_replaces_an_input(words: str, target: str, files: Path, capsys) -> None:
    """Some inputs are hard links to `mask.fits` under the output's name."""
    for name in ("inputs.csv", "inputs.png", "v/validation.json", "page/report.html"):
        (files / name).parent.mkdir(exist_ok=True)
        os.link(files / "mask.fits", files / name)
    before = (files / target).read_bytes()
    assert cli.main(words.split()) == 1
    assert "is an input; it is never overwritten" in capsys.readouterr().err
    assert (files / target).read_bytes() == before


@pytest.mark.parametrize(
    "words",
    [
        "inpaint map.fits -o {} --overwrite", "simulate --nside 8 -o {} --overwrite",
        "spectra filled.fits -o {} --overwrite",
    ],
)  # fmt: skip
def test_a_device_stays_a_device(words: str, files: Path, capsys) -> None:
    # A pipe stands for `/dev/null`, which a superuser could replace.
    os.mkfifo(files / "d.csv")
    assert cli.main(words.format("d.csv").split()) == 1
    assert "d.csv is not replaced: not a regular file" in capsys.readouterr().err
    assert stat.S_ISFIFO((files / "d.csv").stat().st_mode)


@pytest.mark.parametrize(
    ("words", "made"),
    [
        ("inpaint map.fits --seed 1 -o new/", ["map_filled.fits"]),
        (
            "inpaint map.fits --seed 1 --realizations 2 -o new/",
            ["map_filled_000.fits", "map_filled_001.fits"],
        ),
        ("simulate --nside 8 -o new/", ["sky.fits"]),
        ("spectra filled.fits -o new/", ["spectra.csv", "spectra.png"]),
    ],
)
def test_a_folder_is_written_into(words: str, made: list[str], files: Path) -> None:
    assert cli.main(words.split()) == 0
    assert sorted(path.name for path in (files / "new").iterdir()) == made


def test_what_another_process_made_meanwhile_stays(files: Path, monkeypatch, capsys) -> None:
    from cmbinpaint.commands._fill import Filling

    fill = Filling.fill

    def slow(self: Filling, *given: object) -> object:
        Path("out.fits").write_text("another process's")
        return fill(self, *given)

    monkeypatch.setattr(Filling, "fill", slow)
    assert cli.main(["inpaint", "map.fits", "--seed", "1", "-o", "out.fits"]) == 1
    assert "out.fits exists already" in capsys.readouterr().err
    assert Path("out.fits").read_text() == "another process's"
    assert cli.main(["inpaint", "map.fits", "--seed", "1", "-o", "out.fits", "--overwrite"]) == 0


def test_validate_replaces_its_own_files_only(files: Path, capsys) -> None:
    words = ["validate", "--nside", "8", "--skies", "2", "--model", "diffusive", "-o", "v"]
    (files / "v").mkdir()
    (files / "v" / "validation.md").write_text("my notes")
    assert cli.main(words) == 1
    assert "validation.md exists already; give another output, or --overwrite" in capsys.readouterr().err
    assert (files / "v" / "validation.md").read_text() == "my notes"
    (files / "v" / "validation.md").unlink()
    assert cli.main(words) == 0
    assert cli.main([*words, "--seed", "0"]) == 0  # typed again it completes


@pytest.mark.parametrize(
    "words", ["report map.fits filled.fits -o precious", "validate --nside 8 -o precious/sub"]
)
def test_a_file_is_no_folder(words: str, files: Path, capsys) -> None:
    assert cli.main(words.split()) == 1
    assert "precious is not a folder, and files are to be written into precious" in capsys.readouterr().err
    assert (files / "precious").read_text() == "precious"


def test_a_former_option_is_refused_by_name(capsys) -> None:
    assert cli.main(["report", "map.fits", "filled.fits", "--truth", "t.fits", "-o", "page"]) == 2
    assert "unknown option --truth; it is --target now (see `cmbinpaint report" in capsys.readouterr().err
