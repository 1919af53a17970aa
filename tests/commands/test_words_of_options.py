"""Errors and warnings of commands speak of options; stages show that they are at work."""

import io
import logging
import re
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from cmbinpaint import cli
from cmbinpaint.commands import _common as common
from cmbinpaint.commands._words import in_options
from cmbinpaint.files import fits


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("raise max_memory (--max-memory) if you trust it", "raise --max-memory if you trust it"),
        ("declare it with unit= (--unit)", "declare it with --unit"),
        ("declare it: unit='uK_CMB' (--unit uK_CMB)", "declare it: --unit uK_CMB"),
        ("another name, or overwrite=True (--overwrite)", "another name, or --overwrite"),
        ("convert the values first, or omit unit=", "convert the values first, or omit --unit"),
        ('kind="dl" or kind="cl", or put a line', "--cl-kind dl or --cl-kind cl, or put a line"),
        ("use model='default', which is exact", "use --model default, which is exact"),
        ("give a cl or a noise_std above 0", "give a --cl or a --noise-std above 0"),
        ("give cl and noise_std, or a sky_model", "give --cl and --noise-std, or a sky model"),
        ("in draws=Draws(first=...)", "in --first-realization"),
        (
            "its spectrum looks to be in K². C_ell",
            "its spectrum looks to be in K², which --cl-unit K^2 declares. C_ell",
        ),
        (
            "it looks to be D_ell = ell (ell + 1) C_ell / 2π.",
            "it looks to be D_ell, which --cl-kind dl declares.",
        ),
        ("a further beam of 150': give fwhm or beam.", "a further beam of 150': give --fwhm-arcmin."),
        (
            "leave them alone: plan=plan_inpainting(mask, exclude=(sky == 0))",
            "leave them alone: --exclude FILE",
        ),
        ("1 must mean observed: pass 1 - mask", "1 must mean observed: give a file of 1 - mask"),
        # File names and options are left as they are.
        ("cl.txt holds NaN; noise_std.fits and my/cl and 'cl' too", None),
        ("--cl-kind says what --cl holds", None),
        ("column 'T' (in K) of HDU 1", None),
    ],
)
def test_arguments_become_options(text: str, expected: str | None) -> None:
    assert in_options(text) == (text if expected is None else expected)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--max-memory 1K", "1024 are allowed: raise --max-memory if you trust the file"),
        ("--unit furlong", "--unit uK_CMB"),
        ("--mask soft.fits", "if it is apodized, --mask-threshold 0.9 sets from which value on"),
        ("--model gausian", "gausian"),
        ("--field J", "has no column 'J'; it has 0: I [uK_CMB]"),
    ],
)
def test_errors_of_a_command_name_no_arguments(
    words: str, said: str, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    sky = np.random.default_rng(0).standard_normal(768)
    fits.write_map("map.fits", np.where(np.arange(768) > 30, sky, -1.6375e30), unit="uK", column="I")
    fits.write_map("soft.fits", np.linspace(0, 1, 768))
    assert cli.main(["inpaint", "map.fits", "-o", "o.fits", *words.split()]) == 1
    err = capsys.readouterr().err
    assert said in err
    assert not re.search(r"\b(unit|threshold|model|ordering)=|max_memory|noise_std", err)


def test_verbose_says_every_stage_with_its_seconds(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    sky = 20 * np.random.default_rng(0).standard_normal(768)
    fits.write_map("map.fits", np.where(np.arange(768) > 30, sky, -1.6375e30), unit="uK", column="I")
    assert cli.main(["inpaint", "map.fits", "-o", "o.fits", "--verbose"]) == 0
    lines = re.findall(r"^cmbinpaint: ([a-z ]+): \d+\.\d s$", capsys.readouterr().err, re.MULTILINE)
    assert lines == ["read the input", "input", "sky model", "plan", "fill"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("total", [None, 3])
def test_a_bar_moves_while_a_stage_works(total: int | None, monkeypatch) -> None:
    monkeypatch.setattr(sys, "stderr", stream := Terminal())
    with common.progress_bar("plan", total):
        time.sleep(2.2)
    seconds = set(re.findall(r"00:0(\d)", stream.getvalue()))
    assert {"0", "1", "2"} <= seconds and "plan" in stream.getvalue()


def test_a_stage_is_logged_when_it_is_over(caplog) -> None:
    with caplog.at_level(logging.INFO, "cmbinpaint"), common.stage("self-check"):
        assert not caplog.messages
    assert re.fullmatch(r"self-check: 0\.\d s", caplog.messages[0])
