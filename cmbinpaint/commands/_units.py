"""One piece of a batch: one realization of one map, by whichever worker.

Inputs: a `Batch`, a `Unit`. Outputs: its files, each written atomically; what was done, as a dict for JSON.
"""

import argparse
import hashlib
import threading
import time
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cmbinpaint import __version__
from cmbinpaint.commands._fill import Filling, refuse_no_holes
from cmbinpaint.commands._harmonics import cosmo_map, write_modes
from cmbinpaint.commands._input import Request, sky_model_of_plan
from cmbinpaint.errors import CmbInpaintError, FitsError, OutputError, kept_warnings

if TYPE_CHECKING:
    from cmbinpaint._types import AnyArray

SAVED = ("map", "holes", "alm", "cl")
_NAMES = {"map": "filled", "holes": "holes", "alm": "alm", "cl": "cl"}
# The cards of every output, which `collect` passes on.
CARDS = (
    "CREATOR", "MODEL", "WEIGHTS", "FIELDS", "FILL", "SEED", "NOISE", "REALIZ", "STEPS", "REMAINS", "REMAINSP", "GUARD",
    "FSKY", "NHOLES", "NFILLED", "MAPFILE", "MAPSHA", "MASKFILE", "MASKSHA", "MASKPOL", "EXCLFILE", "CLFILE",
    "CLSHA", "JOB", "BATCH", "FILLCOL", "MAPHDU",
)  # fmt: skip
# Arguments of `inpaint` that `batch` does not have.
_INPAINT = {"overwrite": True, "eb_maps": False, "alm": False}
# Arguments that change no fill.
_FREE = {
    "maps", "outdir", "shard", "workers", "mpi", "dask", "save", "mean_map", "std_map", "summary", "print_slurm",
    "realizations", "first_realization", "plan", "seed", "argv", "invoke", "max_memory", "verbose", "debug",
}  # fmt: skip


@dataclass(frozen=True)
class Unit:
    """One realization of one map; None: its prediction, or its only fill."""

    path: Path
    realization: int | None

    @property
    def stem(self) -> str:
        """The map's name without its ending."""
        return self.path.name.partition(".fits")[0]

    @property
    def name(self) -> str:
        """For messages."""
        return str(self.path) + ("" if self.realization is None else f", realization {self.realization}")


@dataclass(frozen=True)
class Batch:
    """What all pieces have in common.

    Attributes
    ----------
    args
        The command's arguments.
    seed
        Of all maps.
    digest
        Of all that fills follow from but the map and the seed.
    threads
        Of each worker.
    """

    args: argparse.Namespace
    seed: int
    digest: str
    threads: int

    def outputs(self, unit: Unit) -> dict[str, Path]:
        """The files of a piece."""
        number = "" if unit.realization is None else f"_{unit.realization:03d}"
        return {
            kind: self.args.outdir / f"{unit.stem}_{_NAMES[kind]}{number}.fits" for kind in self.args.save
        }

    def missing(self, unit: Unit) -> list[str]:
        """The kinds of output that do not exist yet.

        Raises
        ------
        OutputError
            If a file of another batch has one of the names, or the map is newer than its fill.
        """
        return [kind for kind, path in self.outputs(unit).items() if not self._has(path, unit)]

    def _has(self, path: Path, unit: Unit) -> bool:
        if not path.exists():
            return False
        if (said := card_of(path, "BATCH")) != self.digest:
            raise OutputError(
                f"{path} is of another batch ({said or 'none'}); give another --outdir, or remove it"
            )
        if unit.path.exists() and unit.path.stat().st_mtime > path.stat().st_mtime:
            from cmbinpaint.files.fits import sha256_of

            if sha256_of(unit.path) != card_of(path, "MAPSHA"):
                raise OutputError(
                    f"{path} was made of another {unit.path}, which has changed since; remove it"
                )
        return True

    def make(self, unit: Unit) -> dict[str, Any]:
        """Fill, write what is missing, and say what was done; threads as many as a worker has."""
        from cmbinpaint._machine import most_threads

        begun = time.perf_counter()
        with kept_warnings(silent=True) as warned, most_threads(self.threads):
            filling = self._filling(unit.path)
            filled = filling.fill(unit.realization or 0)
            files = self._write(unit, filling, filled)
        return {
            "map": str(unit.path),
            "realization": unit.realization,
            "status": "done",
            "files": [str(path) for path in files],
            "seed": filling.seed,
            "steps": filling.steps,
            "seconds": round(time.perf_counter() - begun, 3),
            "warnings": list(dict.fromkeys(warned)),
        }

    def save_plan(self) -> None:
        """Keep what the last piece of this process prepared in ``--plan``; without --cl each map has its own."""
        if _last.filling is not None and self.args.cl is not None:
            _last.filling.save_plan(self.args.plan)

    def _filling(self, path: Path) -> Filling:
        """The map, read, and its model; those of the last piece if it is the same map."""
        key = (self.digest, self.seed, path)
        if _last.key != key or _last.filling is None:
            seed = self.seed_of(path)
            args = argparse.Namespace(**vars(self.args) | {"map": path, "seed": seed} | _INPAINT)
            request = Request.read(args, guard=args.guard)
            refuse_no_holes(request)
            _last.key, _last.filling = key, Filling.prepare(request)
        return _last.filling

    def seed_of(self, path: Path) -> int:
        """A map's seed: from the batch's and the name alone, whatever other maps there are."""
        import numpy as np

        words = np.frombuffer(hashlib.sha256(path.name.encode()).digest()[:16], dtype="<u4")
        state = np.random.SeedSequence(self.seed, spawn_key=tuple(words.tolist())).generate_state(
            1, np.uint64
        )
        return int(state[0] >> np.uint64(1))

    def _write(self, unit: Unit, filling: Filling, filled: "AnyArray") -> list[Path]:
        """Write the files that are missing."""
        paths = self.outputs(unit)
        try:
            return [_WRITERS[kind](self, paths[kind], unit, filling, filled) for kind in self.missing(unit)]
        except (FitsError, OSError) as error:
            raise OutputError(f"{error}; what was finished is kept") from error

    def cards(self, unit: Unit, filling: Filling) -> dict[str, Any]:
        """The provenance of a piece: nothing of when and where it was made."""
        info = filling.request.info
        own = {
            "BATCH": (self.digest, "the same for all maps of the batch"),
            "FILLCOL": (",".join(info.names), "columns that were filled"),
            "MAPHDU": (info.hdu, "HDU of MAPFILE"),
        }
        return filling.cards(unit.realization or 0) | own


def digest_of(args: argparse.Namespace) -> str:
    """A hash of the arguments that fills follow from, files by their content."""
    from cmbinpaint.files.fits import sha256_of

    said = [__version__, *sky_model_of_plan(args)]
    for name, value in sorted(vars(args).items()):
        if name not in _FREE:
            is_file = isinstance(value, str | Path) and str(value) and Path(value).is_file()
            said.append(f"{name}={sha256_of(value) if is_file else value}")
    return hashlib.sha256("\n".join(said).encode()).hexdigest()[:32]


def card_of(path: Path, keyword: str) -> str | None:
    """A card of a file's primary header or first table, nothing else read; None if it is not readable."""
    from cmbinpaint.files.fits_scan import open_fits, walk

    try:
        with open_fits(path) as (stream, _):
            return next(
                (hdu.text(keyword) for hdu in islice(walk(path, stream), 2) if hdu.text(keyword)), None
            )
    except FitsError:
        return None


def units_of(paths: list[Path], realizations: range | None, shard: tuple[int, int] = (1, 1)) -> list[Unit]:
    """A share of the pieces: neighbors, so that a worker reads a map once."""
    units = [Unit(path, i) for path in paths for i in (realizations or (None,))]
    part, of = shard
    return units[(part - 1) * len(units) // of : part * len(units) // of]


class _Last(threading.local):
    """What a thread of a worker filled last."""

    key: Any = None
    filling: Filling | None = None


_last = _Last()


def _write_map(
    batch: Batch, path: Path, unit: Unit, filling: Filling, filled: "AnyArray", only: Any = None
) -> Path:
    from cmbinpaint.files import fits

    request = filling.request
    return fits.write_map(
        path, filled, info=request.info, others=request.other_columns() if only is None else (), overwrite=True,
        provenance=batch.cards(unit, filling), history=_history(filling), only=only,
    )  # fmt: skip


def _write_holes(batch: Batch, path: Path, unit: Unit, filling: Filling, filled: "AnyArray") -> Path:
    return _write_map(batch, path, unit, filling, filled, only=filling.request.plan.filled)


def _write_alm(batch: Batch, path: Path, unit: Unit, filling: Filling, filled: "AnyArray") -> Path:
    refuse_gaps(filled, unit)
    write_modes(path, filled, filling.request, batch.cards(unit, filling))
    return path


def _write_cl(batch: Batch, path: Path, unit: Unit, filling: Filling, filled: "AnyArray") -> Path:
    from cmbinpaint.files.spectrum_write import write_cl
    from cmbinpaint.spectra.full_sky import power_of

    refuse_gaps(filled, unit)
    info, cards = filling.request.info, batch.cards(unit, filling)
    cl = power_of(cosmo_map(filled, filling.request))
    return write_cl(path, cl, info.fields, unit=info.unit, provenance=cards, overwrite=True)


_WRITERS = {"map": _write_map, "holes": _write_holes, "alm": _write_alm, "cl": _write_cl}


def _history(filling: Filling) -> list[str]:
    """HISTORY but for the command, which differs between shards and workers."""
    return filling.history[1:]


def refuse_gaps(filled: "AnyArray", unit: Unit) -> None:
    """Refuse the harmonics of a map with pixels that have no value."""
    import numpy as np

    from cmbinpaint.sphere.maps import is_unseen

    if is_unseen(filled).any() or not np.isfinite(filled).all():
        raise CmbInpaintError(
            f"{unit.path} is not full after filling (excluded pixels); --save alm and cl need a full sky"
        )
