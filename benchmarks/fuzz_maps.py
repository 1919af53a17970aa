"""Damaged maps and spectra, and what astropy, healpy and plain splitting of lines read in them.

Inputs: a generator, a scratch folder. Outputs: cases (`fuzz_case`).
"""

import bz2
import gzip
import io
import lzma
import re
from pathlib import Path
from typing import Any

import fuzz_mutations as damage
import healpy as hp
import numpy as np
from astropy.io import fits as afits
from fuzz_case import UNCHECKED, Case, Late, once, silence

from cmbinpaint.files.fits import describe, read_map, read_mask
from cmbinpaint.files.spectrum_files import read_cl
from cmbinpaint.sphere.maps import UNSEEN, is_unseen

NSIDE, NPIX = 4, 192
ROOM = 1 << 28  # bytes that a map may take


# --- maps -------------------------------------------------------------------------------------------------


def whole_maps() -> list[bytes]:
    """Small maps of the kinds that are in use, as astropy writes them."""
    rng = np.random.default_rng(0)
    sky = rng.normal(size=NPIX).astype("f4")
    full = [("I_STOKES", "E", sky, "uK_CMB"), ("TMASK", "B", (sky > 0).astype("u1"), "")]
    scaled = [("T", "I", (100 * sky).astype("i2"), "mK")]
    pixels = np.sort(rng.permutation(NPIX)[:100])
    partial = [("PIXEL", "J", pixels.astype("i4"), ""), ("SIGNAL", "D", sky[:100].astype("f8"), "K")]
    rows = [
        ("TEMPERATURE", "64E", sky.reshape(3, 64), "mK,thermodynamic"),
        ("N_OBS", "64E", np.ones((3, 64)), "counts"),
    ]
    nested, explicit = (
        {"ORDERING": "NESTED", "BAD_DATA": -1.6375e30},
        {"INDXSCHM": "EXPLICIT", "OBJECT": "PARTIAL"},
    )
    scale = {"TSCAL1": 0.01, "TZERO1": 3.0, "TNULL1": -32768}
    return [
        _table(full), _table(full, checksum=True), _table(full, **nested), _table(scaled, **scale),
        _table(partial, **explicit), _table(rows, COORDSYS="G", POLCCONV="COSMO"),
    ]  # fmt: skip


def _table(columns: list[tuple[str, str, Any, str]], *, checksum: bool = False, **cards: Any) -> bytes:
    hdu = afits.BinTableHDU.from_columns([afits.Column(n, f, u or None, array=a) for n, f, a, u in columns])
    for keyword, value in ({"PIXTYPE": "HEALPIX", "ORDERING": "RING", "NSIDE": NSIDE} | cards).items():
        hdu.header[keyword] = value
    stream = io.BytesIO()
    hdu.writeto(stream, checksum=checksum)
    return stream.getvalue()


def damaged_map(whole: list[bytes], rng: np.random.Generator) -> bytes:
    """One of them, damaged; a tenth is compressed before or after."""
    raw: bytes = damage.pick(rng, whole)
    pack = damage.pick(rng, [gzip.compress, bz2.compress, lzma.compress])
    if (chance := rng.random()) < 0.05:
        return damage.damaged_bytes(pack(raw), rng)
    raw = (damage.damaged_cards if rng.random() < 0.7 else damage.damaged_bytes)(raw, rng)
    return pack(raw) if chance < 0.1 else raw


def unpacked(raw: bytes) -> bytes:
    """The file within, by Python's own libraries."""
    for magic, unpack in (
        (b"\x1f\x8b", gzip.decompress),
        (b"BZh", bz2.decompress),
        (b"\xfd7zXZ", lzma.decompress),
    ):
        if raw.startswith(magic):
            return unpack(raw)
    return raw


def map_case(state: dict[str, Any], rng: np.random.Generator, folder: Path) -> Case:
    """A map, or the mask in it."""
    path = folder / "map.fits"
    path.write_bytes(raw := damaged_map(once(state, whole_maps), rng))
    field, as_mask = int(rng.integers(5)) // 4, rng.random() < 0.2

    def try_it() -> str | None:
        describe(path, max_memory=ROOM)
        if as_mask:
            values, info = read_mask(path, field, nest=None, max_memory=ROOM), None
        else:
            values, info = read_map(path, field, nest=None, max_memory=ROOM)
        column = info.column if info else read_map(path, field, nest=None, max_memory=ROOM)[1].column
        found = [
            astropy_differs(unpacked(raw), column, values, info),
            healpy_differs(unpacked(raw), field, values, info),
        ]
        return (
            None if None in found else "; ".join(found) if any(f != UNCHECKED for f in found) else UNCHECKED
        )

    return try_it


def astropy_differs(raw: bytes, column: str, values: np.ndarray, info: Any) -> str | None:
    """In what astropy's reading of the table differs."""
    with silence():
        try:
            with afits.open(io.BytesIO(raw), memmap=False) as hdus:
                header, data = hdus[1].header, hdus[1].data
                names = [name or f"COLUMN_{i + 1}" for i, name in enumerate(data.names)]
                at = names.index(column)
                theirs = np.asarray(data.field(at), dtype="f8").ravel()
                stored = np.asarray(data.base.field(at) if data.base is not None else theirs).ravel()
                null = header.get(f"TNULL{at + 1}")
                nside, ordering = int(header["NSIDE"]), str(header.get("ORDERING", ""))
                listed = np.asarray(data.field(0), dtype=int).ravel() if theirs.size != values.size else None
        except (Exception, Late):
            return UNCHECKED
    bad = is_unseen(values.astype("f8")) if info else values == 0
    if listed is not None:
        full = np.full(values.size, UNSEEN)
        full[listed] = theirs
        theirs = full
    elif null is not None and stored.size == bad.size:
        bad = bad | (stored == null)
    same = bad | np.isclose(values.astype("f8"), theirs, rtol=1e-6, equal_nan=True)
    if not same.all():
        return (
            f"{np.count_nonzero(~same)} values: {values[~same][:2]} where astropy reads {theirs[~same][:2]}"
        )
    if info and (nside != info.nside or not ordering.strip().upper().startswith(info.ordering[:4])):
        return f"{info.ordering}, nside {info.nside} where astropy reads {ordering}, {nside}"
    return unit_differs(raw, info.column, info.unit) if info else None


def unit_differs(raw: bytes, column: str, unit: str | None) -> str | None:
    """Whether a prefix of the kelvins was lost or made up, by the bytes of TUNIT."""
    header = raw[raw.index(b"XTENSION") :]
    cards = [header[i : i + 80] for i in range(0, header.find(b"END" + 77 * b" "), 80)]
    number = next((c[5:8].strip() for c in cards if c[:5] == b"TTYPE" and column.encode() in c[10:]), b"1")
    card = next((c for c in cards if c[:8].strip() == b"TUNIT" + number), b"")
    written = card[10:].split(b"/")[0].strip(b" '").lower()
    kelvins = {
        "K_CMB": (b"k",),
        "mK_CMB": (b"mk", b"milli"),
        "uK_CMB": (b"u", b"\xb5", b"\xc2", b"\xce", b"muk", b"micro"),
    }
    if unit in kelvins and not written.startswith(kelvins[unit]):
        return f"unit {unit} where TUNIT is {written!r}"
    return None


def healpy_differs(raw: bytes, field: int, values: np.ndarray, info: Any) -> str | None:
    """In what healpy's reading of the file differs."""
    with silence():
        try:
            with afits.open(io.BytesIO(raw), memmap=False) as hdus:
                theirs, header = hp.read_map(hdus, field=(field,), nest=None, dtype=None, h=True)
                ordering = dict(header).get("ORDERING", "")
        except (Exception, Late):
            return UNCHECKED
    theirs = np.asarray(theirs, dtype="f8").ravel()
    if theirs.size != values.size or (info and ordering != info.ordering):
        return f"{values.size} pixels, {info and info.ordering}, where healpy reads {theirs.size}, {ordering}"
    blank = is_unseen(values.astype("f8")) if info else values == 0
    same = blank | np.isclose(values.astype("f8"), theirs, rtol=1e-6, equal_nan=True)
    if same.all():
        return None
    return f"{np.count_nonzero(~same)} values: {values[~same][:2]} where healpy reads {theirs[~same][:2]}"


# --- spectra ----------------------------------------------------------------------------------------------


def whole_spectra() -> list[tuple[bytes, bool]]:
    """Text files of the kinds in use and healpy's FITS; whether text."""
    ell = np.arange(2, 60)
    cl = 1e4 / (ell * (ell + 1.0))
    rows = "\n".join(f"{i:4d} {c:.6e} {c / 30:.6e}" for i, c in zip(ell, cl, strict=True))
    texts = [
        f"# ell C_ell [uK^2]\n{rows}\n", f"# L TT EE\n{rows}\n", f"# D_ell = l(l+1)C_l/2pi in K^2\n{rows}\n",
        "\n".join(f"{c:.6e}" for c in cl) + "\n", rows.replace(" ", ", "), f"# dimensionless l, C_l\n{rows}",
    ]  # fmt: skip
    files = [_table([("TEMPERATURE", "D", cl, unit)]) for unit in ("uK^2", "")]
    return [(text.encode(), True) for text in texts] + [(raw, False) for raw in files]


def spectrum_case(state: dict[str, Any], rng: np.random.Generator, folder: Path) -> Case:
    """A spectrum file."""
    whole, is_text = damage.pick(rng, once(state, whole_spectra))
    units = ["K^2", "mK^2", "uK^2", "µK²", "D_ell", "C_ell", "#", ",", "\t", "\n", *damage.NUMBERS]
    if is_text and rng.random() < 0.8:
        raw = damage.damaged_text(whole.decode(), rng, units)
    else:
        raw = (damage.damaged_bytes if is_text or rng.random() < 0.3 else damage.damaged_cards)(whole, rng)
    path = folder / f"cl{damage.pick(rng, ['.txt', '.fits', '.dat'])}"
    path.write_bytes(gzip.compress(raw) if rng.random() < 0.05 else raw)

    def try_it() -> str | None:
        return spectrum_differs(unpacked(path.read_bytes()), read_cl(path))

    return try_it


def spectrum_differs(raw: bytes, cl: np.ndarray) -> str | None:
    """In what the numbers in the file differ, a factor of units and l(l+1)/2π apart, where the file speaks of such."""
    with silence():
        try:
            if raw.startswith(b"SIMPLE"):
                with afits.open(io.BytesIO(raw), memmap=False) as hdus:
                    theirs, said = (
                        np.asarray(hdus[1].data.field(0), "f8").ravel(),
                        str(hdus[1].header.get("TUNIT1")),
                    )
            else:
                theirs, said = _numbers(raw)
        except (Exception, Late):
            return UNCHECKED
    if theirs.size != cl.size:
        return f"{cl.size} multipoles where the file has {theirs.size}"
    ell = np.arange(cl.size)
    factors = [1.0, *((1e-6, 1e6, 1e12, (2.7255e6) ** 2) if re.search("K|µ|dimensionless", said) else ())]
    scales = [factor * np.ones(cl.size) for factor in factors]
    if re.search(r"[Dl]_?\{?\\?(ell|l)|[lL]\s*\(|ell\s*\(|L\s+TT", said):
        scales += [scale * 2 * np.pi / np.maximum(ell * (ell + 1), 1) for scale in scales]
    if any(np.allclose(cl[2:], (theirs * scale)[2:], rtol=1e-9, atol=0) for scale in scales):
        return None
    return f"{cl[2:4]} where the file has {theirs[2:4]} and says {said[:60]!r}"


def _numbers(raw: bytes) -> tuple[np.ndarray, str]:
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    rows = [re.split(r"\s*,\s*|\s+", line.split("#")[0].strip()) for line in text.splitlines()]
    table = np.array([[float(word) for word in row if word] for row in rows if any(row)])
    said = "\n".join(line for line in text.splitlines() if line.lstrip().startswith("#"))
    if table.shape[1] == 1:
        return table[:, 0], said
    return np.concatenate([np.zeros(int(table[0, 0])), table[:, 1]]), said
