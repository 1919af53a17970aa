"""Inpainting by a network: a guess kriged from coarse to fine, corrected on tangent planes where holes are shallow.

Inputs: a plan, a sky model, a network of the linear family. Outputs: `NetworkInpainter`.

Near the data the network adds what kriging from a few neighbors cannot see; deep inside, where a patch would see too
little, kriging from coarse to fine (`sphere.vecchia`) is within a fraction of a percent of the best, and the network
fades out. Every step is linear in the data.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from cmbinpaint._types import AnyArray, BoolArray, FloatArray
from cmbinpaint.errors import WeightsError
from cmbinpaint.gaussian.coarse_to_fine import CoarseToFineInpainter, CoarseToFinePredictor
from cmbinpaint.gaussian.exact import GaussianInpainter
from cmbinpaint.gaussian.hole_posterior import spread_by_depth
from cmbinpaint.gaussian.vecchia import HoleFactor
from cmbinpaint.networks.card import Card
from cmbinpaint.networks.cutting import cut_field, nearest_pixels
from cmbinpaint.networks.pasting import paste_values
from cmbinpaint.networks.store import load_into, load_weights
from cmbinpaint.networks.tiling import PATCH_NSIDES, Tiling
from cmbinpaint.nn.devices import find_device
from cmbinpaint.nn.inputs import conditions, patch_rms
from cmbinpaint.nn.models import build_model
from cmbinpaint.problem.model import Inpainter, Predictor
from cmbinpaint.problem.plan import InpaintingPlan
from cmbinpaint.problem.progress import Watch
from cmbinpaint.sims.sky_model import SkyModel
from cmbinpaint.sphere.harmonics import Harmonics

# Depths in pixels between which the network's correction fades out; deeper nothing was asked of it in training.
FADE = (3.0, 6.0)
# Edges of the classes of depth in which the guess's spread is told.
SPREAD_EDGES = tuple(0.9 * 2 ** (0.25 * i) for i in range(24))
FAMILY = "linear"  # of `cmbinpaint.nn.models`: a guess, its spread and the sky model come in
_BATCH = (
    8  # patches a pass, always padded to it, so that a fill does not depend on how patches fall into batches
)
_CUT = 256  # patches evaluated at a time: each evaluation costs one transform of the whole sphere beforehand
_LEAST_SPREAD = 1e-3  # over the patch's rms, the network's own floor


class NetworkInpainter(Inpainter):
    """A trained network as an inpainter.

    Parameters
    ----------
    card, network
        As stored in `cmbinpaint.networks.store`.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"mps"``.

    Raises
    ------
    DeviceError
        If the device is not there.
    """

    refined_by_default = True

    def __init__(self, card: Card, network: nn.Module, device: str = "auto") -> None:
        self.card = card
        self.sha256 = card.sha256
        self.name = card.name
        self.guess = CoarseToFineInpainter()
        self.device = find_device(device)
        self.network = network.to(self.device).to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self.network.requires_grad_(False)

    @classmethod
    def load(cls, name_or_path: str, device: str = "auto") -> "NetworkInpainter":
        """Load weights that ship with the package, or lie in a file.

        Raises
        ------
        WeightsError
            If they are not there, not whole, or of a family that fills no maps.
        """
        card, tensors = load_weights(name_or_path)
        if card.family != FAMILY:
            raise WeightsError(
                f"{card.name!r} is a network of family {card.family!r}, which fills no maps; expected {FAMILY!r}: "
                "`cmbinpaint models` lists what there is"
            )
        network = build_model({"family": card.family, **card.architecture})
        load_into(network, tensors, card.name)
        return cls(card, network, device)

    def prepare(self, plan: InpaintingPlan, sky_model: SkyModel, *, to_refine: bool = False) -> Predictor:
        """Do what is done once per mask and sky model: the holes' distribution, and patches."""
        if plan.nside < PATCH_NSIDES[0] or plan.valid.all():
            return GaussianInpainter().prepare(plan, sky_model)
        guess = self.guess.prepare(plan, sky_model, to_refine=to_refine)
        if not isinstance(guess, CoarseToFinePredictor) or guess.posterior is None:
            return guess  # more noise than signal: no network has learned from such maps
        return NetworkPredictor.prepare(self, plan, sky_model, guess.posterior)

    def correct(self, x: FloatArray, valid: BoolArray, spread: FloatArray, told: AnyArray) -> FloatArray:
        """What the network adds to the guess, over the spread: (n, side, side), meaningful in holes.

        Parameters
        ----------
        x
            (n, side, side), n at most the batch, over the patch's rms.
        valid, spread
            (n, side, side); the spread over the patch's rms.
        told
            The conditions.
        """
        n = len(x)
        arrays = [np.zeros((_BATCH, 1, *x.shape[1:]), np.float32) for _ in range(3)]
        for padded, given in zip(arrays, (x, valid, spread), strict=True):
            padded[:n, 0] = given
        tensors = [torch.from_numpy(a).to(self.device) for a in arrays]
        tensors.append(torch.from_numpy(np.tile(told, (_BATCH, 1))).to(self.device))
        with torch.inference_mode():
            better = self.network(*tensors)
        change = (better - tensors[0])[:n, 0].cpu().numpy().astype(np.float64)
        return change / np.maximum(spread, _LEAST_SPREAD)


@dataclass(frozen=True, eq=False)
class NetworkPredictor(Predictor):
    """A network prepared for one mask and one sky model.

    Attributes
    ----------
    factor
        The hole pixels' distribution: the guess, and what a solver is conditioned with.
    tiling
        The patches over the targets that the network has a say in.
    share
        (npix,) float16: the network's share, from 1 where holes are shallow to 0.
    spread
        (npix,) float32: the guess's standard deviation over the patch's rms.
    """

    inpainter: NetworkInpainter
    plan: InpaintingPlan
    sky_model: SkyModel
    posterior: HoleFactor = field()
    tiling: Tiling
    share: AnyArray = field(repr=False)
    spread: AnyArray = field(repr=False)

    @classmethod
    def prepare(
        cls, inpainter: NetworkInpainter, plan: InpaintingPlan, sky_model: SkyModel, factor: HoleFactor
    ) -> "NetworkPredictor":
        """Lay out patches, and tell how uncertain the guess is."""
        near = np.sort(factor.holes[factor.depth < FADE[1]])
        share = np.zeros(plan.valid.size, np.float16)
        depth = np.maximum(factor.depth, 1e-9)
        share[factor.holes] = 1 - _smooth_step(np.log2(depth / FADE[0]) / np.log2(FADE[1] / FADE[0]))
        tiling = Tiling.cover(plan.nside, near[plan.targets[near]])
        rms = patch_rms(sky_model.signal_cl, tiling.grid.step_rad, tiling.grid.side)
        spread = np.zeros(plan.valid.size, np.float32)
        class_of, std = spread_by_depth(factor, SPREAD_EDGES)
        spread[factor.holes] = std[class_of] / rms
        return cls(inpainter, plan, sky_model, factor, tiling, share, spread)

    def predict(self, observed: FloatArray, *, watch: Watch | None = None) -> FloatArray:
        """Fill the targets (see `Predictor`)."""
        filled = np.where(self.plan.valid, observed, 0.0)
        filled[self.posterior.holes] = self.posterior.mean(filled)
        for pixels, correction in self._corrections(filled):  # which have seen the guess, and see no change
            filled[pixels] += self.share[pixels] * correction
        filled[self.plan.excluded] = 0.0
        return filled

    def _corrections(self, filled: FloatArray) -> Iterator[tuple[AnyArray, FloatArray]]:
        """Pixels and what the network adds there, patch by patch."""
        if not len(self.tiling):
            return
        nside, grid = self.plan.nside, self.tiling.grid
        rms = patch_rms(self.sky_model.signal_cl, grid.step_rad, grid.side)
        noise = float(np.sqrt(np.mean(np.square(self.sky_model.noise_std))))
        told = conditions(self.sky_model.signal_cl, noise, grid.step_rad, grid.side)
        # All that the pixels hold: the noise too is part of what the network is used to.
        # A constant changes nothing, but the transform of a large one would leave ripples.
        # Single precision is what the network works in.
        centered: AnyArray = np.empty(filled.size, np.float32)
        np.subtract(filled, filled.mean(), out=centered, casting="same_kind")
        alm = Harmonics(nside, 3 * nside - 1, single=True).analysis(centered, iterations=1)
        del centered
        for start in range(0, len(self.tiling), _CUT):
            planes = self.tiling.planes[start : start + _CUT]
            members = self.tiling.members[start : start + _CUT]
            fields = cut_field(alm, planes) / rms
            for first in range(0, len(planes), _BATCH):
                batch = slice(first, first + _BATCH)
                under = nearest_pixels(nside, planes[batch])
                valid, spread = self.plan.valid[under], self.spread[under]
                change = self.inpainter.correct(fields[batch], valid, spread, told)
                for plane, pixels, patch, known in zip(
                    planes[batch], members[batch], change, valid, strict=True
                ):
                    pasted = paste_values(patch, ~known, plane, nside, pixels)
                    yield pixels, rms * self.spread[pixels] * pasted


def _smooth_step(t: FloatArray) -> FloatArray:
    """From 0 at 0 to 1 at 1, flat at both ends."""
    t = np.clip(t, 0, 1)
    return t * t * (3 - 2 * t)
