"""One fill after the other, as `cmbinpaint inpaint` makes them.

Inputs: a `Request`, a model, a seed. Outputs: filled maps; files that say how they were made.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cmbinpaint import __version__
from cmbinpaint.commands import _common as common
from cmbinpaint.commands._harmonics import alm_path, with_eb_columns, write_modes
from cmbinpaint.commands._input import Request
from cmbinpaint.commands._known import OPTIONS
from cmbinpaint.errors import CmbInpaintError, MaskError

if TYPE_CHECKING:
    from cmbinpaint._types import AnyArray
    from cmbinpaint.problem.model import Inpainter
    from cmbinpaint.problem.progress import Watch
    from cmbinpaint.sims.sky_model import SkyModel


_FEW_ZEROS = 10  # so many are no chance


@dataclass
class Filling:
    """A request, the model and seed that answer it, and what was found out on the way.

    Attributes
    ----------
    request, model
        What is filled, and by what.
    seed
        Of the realizations; None: of predictions.
    known
        Of the sky, as arguments of `inpaint_map`: after the first fill its sky model.
    history
        Lines of HISTORY.
    checked
        All numbers of the self-check, if it ran.
    assumed
        The line on the sky model, once it is known.
    steps, remaining, remaining_power
        Of the last map's conjugate gradients.
    planned
        The digest of the sky model if that of ``--plan FILE`` is used, or was written there.
    """

    request: Request
    model: "Inpainter"
    seed: int | None
    known: dict[str, Any]
    history: list[str]
    checked: str = ""
    assumed: str = ""
    steps: int = 0
    remaining: float | None = None
    remaining_power: float | None = None
    planned: str | None = None

    @classmethod
    def prepare(cls, request: Request) -> "Filling":
        """Load the model, and draw a seed where none is given."""
        from cmbinpaint.pipeline.models import load_model

        args = request.args
        model = load_model(args.model, device=args.device)
        seed = None if args.fill == "prediction" else common.fresh_seed() if args.seed is None else args.seed
        filling = cls(request, model, seed, request.known, common.provenance_of(args.argv)[1])
        if "sky_model" in filling.known:
            filling.planned = filling.known["sky_model"].digest
            filling._assume(filling.known["sky_model"])
        filling.remember(request.warned)
        return filling

    def fill(self, index: int, watch: "Watch | None" = None) -> "AnyArray":
        """Fill the holes once; `index` counts realizations."""
        from cmbinpaint.pipeline.inpaint import inpaint_map
        from cmbinpaint.problem.draws import Draws

        request = self.request
        filled, info = inpaint_map(
            request.sky,
            plan=request.plan,
            model=self.model,
            fill=request.args.fill,
            refine=request.args.refine,
            unit=request.info.unit,
            polconv=request.polconv,
            seed=self.seed,
            draws=Draws(first=index, with_noise=not request.args.no_noise),
            progress=watch,
            return_info=True,
            **self.known,
        )
        if "sky_model" not in self.known:  # the others follow from the same
            self._assume(info.sky_model)
        self.remember(info.warnings)
        self.steps, self.remaining, self.remaining_power = (
            info.steps[-1],
            info.remaining,
            info.remaining_power,
        )
        return filled

    def save_plan(self, path: Path) -> bool:
        """Keep what was prepared for the next map in a file, if there is none; whether it was written now.

        A map that lacks pixels has weights of its own, which serve no other.
        """
        model = self.known.get("sky_model")
        if path.exists() or model is None or not self.request.is_plain:
            return False
        self.request.masks.save(path, sky_model=model)
        if not self.request.known:  # the next run reads it, and is the same job
            self.planned = model.digest
        return True

    def check(self) -> str:
        """Test what is known of the sky on the map; return the line that says so."""
        from cmbinpaint.validation.self_check import self_check

        request = self.request
        try:
            found = self_check(
                request.sky,
                plan=request.plan,
                model=self.model,
                refine=request.args.refine,
                unit=request.info.unit,
                polconv=request.polconv,
                **self.known,
            )
        except MaskError as error:  # the mask leaves no room for it: the fill does not depend on that
            said = f"self-check: not possible: {error}"
        else:
            self._assume(found.sky_model)
            self.checked = found.table()
            said = f"self-check: {found}"
        self.history = [*self.history, said]
        return said

    def _assume(self, sky_model: "SkyModel") -> None:
        """Let the fills that follow use this sky model, and say where it came from and what its numbers are in."""
        given = any(self.known.get(name) is not None for name in ("cl", "noise_std", "noise_cov"))
        unit = "uK_CMB" if self.request.info.unit or given else "the map's unit"
        self.known = {"sky_model": sky_model}
        self.assumed = f"sky model, in {unit}: {sky_model.source}"
        self.history = [*self.history, self.assumed, *self._spectrum_words()]

    def _spectrum_words(self) -> list[str]:
        """The line that tells a given spectrum and beam from others; none where neither is given."""
        args = self.request.args
        if args.cl is None:
            return []
        beam = "no beam" if args.fwhm_arcmin is None else f"beam of {args.fwhm_arcmin:g} arcmin"
        return [f"theory spectrum: {args.cl.name} (sha256 {self.request.cl_sha256}), {beam}"]

    def remember(self, warned: Iterable[str]) -> None:
        """Let outputs say in their HISTORY what was warned of, once each."""
        lines = (f"warning: {text}" for text in warned)
        self.history += [line for line in dict.fromkeys(lines) if line not in self.history]

    def digest(self) -> str:
        """Return a hash of all that the fills follow from but the seed."""
        from cmbinpaint.files.fits import sha256_of

        args, info = self.request.args, self.request.info
        noise = args.noise_std
        spectra_and_noise = (args.cl, args.hits, args.noise_cov, args.colored_noise)
        said = [info.sha256, info.field, info.hdu, info.unit, self.request.plan.digest]
        said += [
            info.ordering,
            self.model.name,
            self.model.sha256,
            args.fill,
            args.refine,
            args.no_noise,
            __version__,
        ]
        said += [getattr(args, option) for option in OPTIONS]
        said += [None if path is None else sha256_of(path) for path in spectra_and_noise]
        said += [option for option in ("eb_maps", "alm") if getattr(args, option)]
        said += [self.planned] if self.planned else []
        said += [sha256_of(noise) if noise is not None and Path(noise).is_file() else noise]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:32]

    def cards(self, index: int) -> dict[str, Any]:
        """Return the provenance of one output."""
        request, plan, args = self.request, self.request.plan, self.request.args
        mask = request.mask_source
        holes = "UNSEEN and NaN pixels of the map" if mask is None else f"column {mask[1]}"
        return common.provenance_of(args.argv)[0] | {
            "MODEL": (self.model.name, "that filled the holes"),
            "WEIGHTS": (self.model.sha256 or None, "sha256 of the model's weights"),
            "FIELDS": (request.info.fields.stokes, "Stokes parameters that were filled"),
            "FILL": (args.fill, "realization or prediction"),
            "SEED": (self.seed, "of the realizations"),
            "NOISE": (not args.no_noise, "whether the holes have the map's noise"),
            "REALIZ": (index if self.seed is not None else None, "which realization of that seed"),
            "STEPS": (self.steps, "of conjugate gradients, last map"),
            "REMAINS": (self.remaining, "estimate of what they left, posterior std"),
            "REMAINSP": (self.remaining_power, "of Q, U: of E and B power, over the sky's"),
            "GUARD": (args.guard, "rings beside holes not used as data"),
            "FSKY": (plan.fsky, "fraction of the sky used as data"),
            "NHOLES": (plan.n_holes, "holes, by 8-connectivity"),
            "NFILLED": (int(plan.filled.sum()), "pixels filled"),
            "MAPFILE": (args.map.name, "the map with holes"),
            "MAPSHA": (request.info.sha256, "its sha256"),
            "MASKFILE": ((args.mask or args.map).name, f"holes: {holes}"),
            "MASKSHA": (request.mask_sha256, "its sha256"),
            "MASKPOL": (args.mask_pol and args.mask_pol.name, "mask of Q and U, if it is another file"),
            "CLFILE": (args.cl and args.cl.name, "theory spectrum"),
            "CLSHA": (request.cl_sha256, "its sha256"),
            "EXCLFILE": (
                None if args.exclude is None else args.exclude.name,
                "what was neither used nor filled",
            ),
            "JOB": (self.digest(), "the same for all that differs in seed only"),
        }

    def series_cards(self, indices: list[int], what: str) -> dict[str, Any]:
        """Return the provenance of a map made of several realizations: of no single one of them."""
        return self.cards(indices[0]) | {
            "STEPS": None,
            "REMAINS": None,
            "REMAINSP": None,
            "CONTENT": (what, "over the realizations"),
            "NREALIZ": (len(indices), "realizations, from REALIZ on"),
        }

    def write(self, path: Path, filled: "AnyArray", index: int) -> None:
        """Write one filled map, atomically; before it its a_lm, if they are asked for."""
        from cmbinpaint.files import fits

        args, others = self.request.args, self.request.other_columns()
        if args.alm:
            write_modes(alm_path(path), filled, self.request, self.cards(index))
        if args.eb_maps:
            others = with_eb_columns(others, filled, self.request)
        fits.write_map(
            path,
            filled,
            info=self.request.info,
            others=others,
            overwrite=args.overwrite,
            provenance=self.cards(index),
            history=self.history,
        )

    def summary(self, path: Path, seconds: float) -> str:
        """Return the line that says what was written."""
        plan, seed = self.request.plan, "" if self.seed is None else f", seed {self.seed}"
        return (
            f"{path}: {common.count_of(plan.n_holes, 'hole')} filled "
            f"({100 * float(plan.filled.mean()):.1f} % of the sky), "
            f"{self.request.args.fill} by {self.model.name}{seed}, {common.human_seconds(seconds)}"
        )


def refuse_no_holes(request: Request) -> None:
    """Refuse a map without holes if no mask was named."""
    if request.plan.targets.any() or request.mask_source is not None:
        return
    from cmbinpaint.files.other_columns import column_names
    from cmbinpaint.files.stokes_columns import mask_columns

    args, info = request.args, request.info
    masks = mask_columns(column_names(args.map, hdu=args.hdu, max_memory=args.max_memory), info.fields)
    where = ("columns " if info.columns else "column ") + ", ".join(info.names)
    own = "--mask-field NAME for a column of the map's own file"
    if masks and masks != info.names:
        own = f"--mask-field {','.join(masks)} for the file's own"
    zeros = int((request.sky == 0).sum())
    own += f" ({zeros} values are exactly 0: is it a map times its mask?)" if zeros > _FEW_ZEROS else ""
    raise CmbInpaintError(
        f"{args.map} has no UNSEEN or NaN pixels in {where}, and no mask was given: give --mask FILE, or {own}"
    )
