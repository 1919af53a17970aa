"""CoMBInE's network as an inpainter of maps.

Inputs: a plan, a sky model, a network of family 'pconv' with one channel. Outputs: `NetworkInpainter`.

Patches are cut from the map with a first guess in its holes, kriged from coarse to fine. Of the guess the network sees
nothing but rims: patch pixels that mix observed and hole pixels hold what the data around them say (without it
conditional means lose up to twice the error there); those wholly in holes are holes. The network redraws the whole
patch; what it draws over data is discarded.
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from cmbinpaint._types import AnyArray, BoolArray, Float32Array, FloatArray
from cmbinpaint.errors import CmbInpaintWarning, DeviceError, WeightsError
from cmbinpaint.gaussian.hole_posterior import hole_factor
from cmbinpaint.networks.card import Card
from cmbinpaint.networks.card_limits import warn_beyond_card
from cmbinpaint.networks.cutting import Scaling, SmoothMap, known_pixels, patch_angles
from cmbinpaint.networks.levels import Level, lay_levels, level_map
from cmbinpaint.networks.pasting import paste_values
from cmbinpaint.networks.store import load_into, load_weights
from cmbinpaint.nn.devices import computes_bf16, find_device
from cmbinpaint.nn.models import build_model
from cmbinpaint.problem.model import HolePosterior, Inpainter, Predictor, check_same_nside, validate_observed
from cmbinpaint.problem.plan import InpaintingPlan
from cmbinpaint.problem.progress import Progress, Watch
from cmbinpaint.sims.sky_model import SkyModel
from cmbinpaint.sphere.fields import Fields
from cmbinpaint.sphere.pixels import pixel_vectors

FAMILY = "pconv"
# The resolutions that networks on patches are made and graded for.
NSIDES = (128, 2048)
# Patches a pass, always padded to it, so that a fill does not depend on how patches fall into batches.
_BATCH = 8
# Patches evaluated at a time, four times as many of large spheres: each evaluation begins with a transform of all of
# it, at nside 2048 30 s of processor time.
_CUT, _LARGE_NSIDE = 512, 1024


class NetworkInpainter(Inpainter):
    """A trained network as an inpainter.

    Parameters
    ----------
    card, network
        As stored in `cmbinpaint.networks.store`.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"mps"``.
    bf16
        Whether convolutions are computed in bfloat16 (several times faster where the device has instructions for
        it); None: where it has.

    Raises
    ------
    DeviceError
        If the device is not available.
    WeightsError
        If the network is of a family that fills no maps, or draws pictures.
    """

    is_linear = False
    refined_by_default = True

    def __init__(
        self, card: Card, network: nn.Module, device: str = "auto", *, bf16: bool | None = None
    ) -> None:
        if card.family != FAMILY:
            raise WeightsError(
                f"{card.name!r} is a network of family {card.family!r}, which fills no maps; expected {FAMILY!r}"
            )
        channels: Any = getattr(network, "architecture", {}).get("channels")
        if channels != 1:
            raise WeightsError(
                f"{card.name!r} draws pictures of {channels} channels; a map is filled by networks of one channel, "
                "temperature, such as model='combine128'"
            )
        self.card, self.name, self.sha256 = card, card.name, card.sha256
        self.network = network
        self._place(find_device(device), bf16)
        self.network.requires_grad_(False)

    def check(self, nside: int, fields: Fields = Fields.T) -> None:
        """Refuse maps of other resolutions than networks on patches are for, and maps with Q and U.

        Raises
        ------
        WeightsError, CmbInpaintError
            Saying what to use instead.
        """
        super().check(nside, fields)
        low, high = NSIDES
        what = f"the network {self.name!r} is for nside {low} to {high}, the map has {nside}"
        if nside < low:
            raise WeightsError(f"{what}; use model='default', the exact answer, which takes a second there")
        if nside > high:
            raise WeightsError(f"{what}; use model='default', or healpy.ud_grade the map to {high}")

    def prepare(self, plan: InpaintingPlan, sky_model: SkyModel, *, to_refine: bool = False) -> Predictor:
        """Do what is done once per mask and sky model: the holes' distribution, and patches.

        Raises
        ------
        MapError
            If plan and sky model have different nside.
        MaskError
            If a hole is wider than the widest patch.
        WeightsError
            If networks are not for maps of this nside.
        """
        check_same_nside(plan, sky_model)
        self.check(plan.nside)
        if plan.valid.all():
            return NetworkPredictor(self, plan, (), None)
        warn_beyond_card(self.card, sky_model, refined=to_refine)
        posterior = hole_factor(plan.valid, sky_model, quiet=to_refine, kept=plan.factors)
        depth = np.zeros(plan.valid.size, np.float32)
        depth[posterior.holes] = posterior.depth
        return NetworkPredictor(self, plan, lay_levels(plan, depth), posterior)

    def draw(self, fields: FloatArray, known: BoolArray) -> FloatArray:
        """Draw patches whole.

        Parameters
        ----------
        fields
            (n, side, side), in any unit; not read in holes.
        known
            (n, side, side).

        Returns
        -------
        (n, side, side) float64: the network's own answer everywhere, in the input's unit. It follows any factor and
        constant of the fields.
        """
        scaling = Scaling.of(fields, known)
        x = np.where(known, scaling.apply(np.where(known, fields, 0.0)), np.float32(0))
        parts: list[Float32Array] = []
        while (start := sum(map(len, parts))) < len(x):
            chunk = slice(start, start + self._batch)
            try:
                parts.append(self._pass(x[chunk], known[chunk]))
            except torch.OutOfMemoryError as error:
                self._take_less_memory(error)
        return scaling.undo(np.concatenate(parts))

    def _take_less_memory(self, error: torch.OutOfMemoryError) -> None:
        """Go on with half as many patches at a time; where one is too many, on the CPU."""
        full = f"{self.device} is out of memory"
        if self._batch > 1:
            self._batch //= 2
            words = f"{full}: {self._batch} patches at a time from here on"
        elif self.device.type != "cpu":
            self._place(torch.device("cpu"))
            words = f"{full} for a single patch: the CPU goes on"
        else:
            raise DeviceError(f"{full} for a single patch of the network {self.name!r}") from error
        warnings.warn(words, CmbInpaintWarning, stacklevel=2)

    def _place(self, device: torch.device, bf16: bool | None = None) -> None:
        self.device, self._batch = device, _BATCH
        self.bf16 = computes_bf16(device) if bf16 is None else bf16
        self.network = self.network.to(device).to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]

    def _pass(self, x: Float32Array, known: BoolArray) -> Float32Array:
        padded = np.zeros((self._batch, 1, *x.shape[1:]), np.float32)
        valid = np.zeros_like(padded)
        padded[: len(x), 0], valid[: len(x), 0] = x, known
        tensors = (torch.from_numpy(a).to(self.device) for a in (padded, valid))
        with (
            torch.inference_mode(),
            torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bf16),
        ):
            drawn = self.network(*tensors)
        return np.asarray(drawn[: len(x), 0].float().cpu().numpy())


def load_network(name_or_path: str, device: str = "auto") -> NetworkInpainter:
    """Load weights that ship with the package, or lie in a file.

    Raises
    ------
    DeviceError, WeightsError
        If the device is not available; if weights are not found, damaged, or fill no maps.
    """
    card, tensors = load_weights(name_or_path)
    network = build_model({"family": card.family, **card.architecture})
    load_into(network, tensors, card.name)
    return NetworkInpainter(card, network, device)


@dataclass(frozen=True, eq=False)
class NetworkPredictor(Predictor):
    """A network prepared for one mask and one sky model.

    Attributes
    ----------
    levels
        From the finest patches to the coarsest.
    posterior
        The hole pixels' distribution: its mean smooths rims, and a solver is conditioned with it.
    """

    inpainter: NetworkInpainter
    plan: InpaintingPlan
    levels: tuple[Level, ...] = field(repr=False)
    posterior: HolePosterior | None

    def predict(self, observed: FloatArray, *, watch: Watch | None = None) -> FloatArray:
        """Fill the targets (see `Predictor`); `watch` is called every 512 patches or 2048."""
        observed = validate_observed(observed, self.plan.valid)
        filled = np.where(self.plan.valid, observed, 0.0)
        if self.posterior is None:
            return filled
        filled[self.posterior.holes] = self.posterior.mean(filled)
        done, total = 0, sum(len(level.tiling) for level in self.levels)
        for level in self.levels:
            for count, pixels, weight, values in self._answers(level, filled):
                filled[pixels] += weight * (values - filled[pixels])
                done += count
                if watch is not None:
                    watch(Progress("patches", done, total))
        filled[self.plan.excluded] = 0.0
        return filled

    def _answers(
        self, level: Level, filled: FloatArray
    ) -> Iterator[tuple[int, AnyArray, AnyArray, FloatArray]]:
        """Of some patches at a time: how many, and of their pixels numbers, weights and values."""
        sky = SmoothMap.of(level_map(filled, self.plan.nside, level.nside), level.nside)
        cut = _CUT if level.nside < _LARGE_NSIDE else 4 * _CUT
        for start in range(0, len(level.tiling), cut):
            chunk = slice(start, start + cut)
            planes, members = level.tiling.planes[chunk], level.tiling.members[chunk]
            fields = sky.at(*patch_angles(planes))
            known = known_pixels(level.known, level.nside, planes)
            fields = np.where(known, fields, self.inpainter.draw(fields, known))
            values = [
                paste_values(patch, plane, pixel_vectors(self.plan.nside, level.pixels[member]))
                for patch, plane, member in zip(fields, planes, members, strict=True)
            ]
            places = np.concatenate(members)
            yield len(planes), level.pixels[places], level.weight[places], np.concatenate(values)
