"""Inpainting by a network: kriged guesses, corrected on tangent planes, from coarse maps to fine.

Takes: a plan, a sky model, a network of the linear family. Gives: `NetworkInpainter`. Floor: 3.

At each nside a hole is filled as deep as a patch can see. What lies deeper is filled at half the nside, where the
same hole is half as deep, and so on down to nside 64, where the exact answer costs a second. Holes of at most one
and a half pixels are filled before the map is averaged, and count as observed from then on. Every step is linear
in the data.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from cmbinpaint._types import AnyArray, BoolArray, FloatArray
from cmbinpaint.errors import WeightsError
from cmbinpaint.inpainters import EXACT_NSIDE
from cmbinpaint.inpainters.gaussian import GaussianInpainter
from cmbinpaint.inpainters.protocol import Predictor
from cmbinpaint.nn.devices import find_device
from cmbinpaint.nn.inputs import conditions, patch_rms
from cmbinpaint.nn.models import build_model
from cmbinpaint.patches.cutting import cut_field, nearest_pixels
from cmbinpaint.patches.pasting import paste_values
from cmbinpaint.patches.plan import InpaintingPlan
from cmbinpaint.patches.tiling import REACH, Tiling
from cmbinpaint.sims.skymodel import SkyModel
from cmbinpaint.sphere.harmonics import Harmonics, evaluate, resize_alm, scale_alm
from cmbinpaint.sphere.kriging import KrigingWeights, kriging_weights
from cmbinpaint.sphere.maps import degrade
from cmbinpaint.sphere.pixels import pixel_angles
from cmbinpaint.weights import Card, load_into, load_weights

# Of the kriged guess. Networks are trained on guesses from 16, which is cheaper; twice as many make the answer
# better at every depth (docs/measured.md), for what the spread tells the network holds for any guess.
NEIGHBORS = 32
FAMILY = "linear"  # of `cmbinpaint.nn.models`: a guess, its spread and the sky model come in
_BATCH = (
    8  # patches a pass, always padded to it, so that a fill does not depend on how patches fall into batches
)
_CUT = 128  # patches evaluated at a time: each evaluation costs one transform of the whole sphere beforehand
_LEAST_SPREAD = 1e-3  # over the patch's rms, the network's own floor


class NetworkInpainter:
    """A trained network as an inpainter.

    Parameters
    ----------
    card, network
        As stored in `cmbinpaint.weights`.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"mps"``.

    Raises
    ------
    DeviceError
        If the device is not there.
    """

    def __init__(self, card: Card, network: nn.Module, device: str = "auto") -> None:
        self.card = card
        self.name = card.name
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

    def prepare(self, plan: InpaintingPlan, sky_model: SkyModel) -> Predictor:
        """Do what is done once per mask and sky model: neighbor weights, patches, coarser levels."""
        if plan.nside <= EXACT_NSIDE:
            return GaussianInpainter().prepare(plan, sky_model)
        return NetworkPredictor.prepare(self, plan, sky_model)

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
class NetworkPredictor:
    """A network prepared for one mask and one sky model.

    Attributes
    ----------
    weights
        The kriged guess of every unobserved pixel within reach.
    tiling
        The patches over the targets within reach.
    coarse
        What fills the depths: the same at half the nside; None if nothing lies deep.
    """

    inpainter: NetworkInpainter
    plan: InpaintingPlan
    sky_model: SkyModel
    weights: KrigingWeights
    tiling: Tiling
    coarse: "CoarseLevel | None"
    spread: AnyArray = field(
        repr=False
    )  # (npix,) float32, the guess's standard deviation over the patch's rms

    @classmethod
    def prepare(
        cls, inpainter: NetworkInpainter, plan: InpaintingPlan, sky_model: SkyModel
    ) -> "NetworkPredictor":
        """Compute weights, patches and coarser levels."""
        holes = np.flatnonzero(~plan.valid)
        depth = plan.depth[holes]
        tiling = Tiling.cover(plan.nside, holes[:0])
        reach = REACH * tiling.grid.side
        near = holes[depth <= reach]
        weights = kriging_weights(
            plan.valid,
            sky_model.signal_cl,
            sky_model.noise_std,
            neighbors=(NEIGHBORS,),
            targets=near,
            thin=True,
        )
        coarse = CoarseLevel.prepare(inpainter, plan, sky_model) if np.any(depth > reach / 2) else None
        spread = np.zeros(plan.valid.size, np.float32)
        spread[holes] = np.inf  # beyond reach nothing is known; clipped below
        spread[weights.targets] = weights.spread
        rms = patch_rms(sky_model.signal_cl, tiling.grid.step_rad, tiling.grid.side)
        spread = np.minimum(spread / rms, sky_model.rms / rms, dtype=np.float32)
        tiling = Tiling.cover(plan.nside, near[plan.targets[near]])
        return cls(inpainter, plan, sky_model, weights, tiling, coarse, spread)

    def predict(self, observed: FloatArray) -> FloatArray:
        """Fill the targets (see `Predictor`)."""
        plan = self.plan
        filled = np.where(plan.valid, observed, 0.0)
        filled[self.weights.targets] = self.weights.apply(filled)
        if self.coarse is not None:
            deep, values = self.coarse.predict(filled)
            share = self._coarse_share(deep)
            filled[deep] += share * (values - filled[deep])
        for pixels, correction in self._corrections(filled):
            filled[pixels] += (1 - self._coarse_share(pixels)) * correction
        filled[plan.excluded] = 0.0
        return filled

    def _coarse_share(self, pixels: AnyArray) -> FloatArray:
        """How much of a pixel's value comes from the coarser level: from 0 at half the reach to 1 at all of it."""
        reach = REACH * self.tiling.grid.side
        t = np.clip(np.log2(np.maximum(self.plan.depth[pixels], 1e-9) / reach) + 1, 0, 1)
        return t * t * (3 - 2 * t)

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
        alm = Harmonics(nside, 3 * nside - 1).analysis(filled - filled.mean(), iterations=1)
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


@dataclass(frozen=True, eq=False)
class CoarseLevel:
    """The same sky at half the nside, where deep holes are less deep."""

    predictor: Predictor
    known: BoolArray  # (npix,) pixels of the fine map that are averaged: observed, or filled shallow holes
    deep: AnyArray  # (n,) fine pixels that this level fills
    lmax: int
    window: FloatArray  # what averaging does to the spectrum, to be undone

    @classmethod
    def prepare(cls, inpainter: NetworkInpainter, plan: InpaintingPlan, sky_model: SkyModel) -> "CoarseLevel":
        """Average plan and sky model to half the nside and prepare there."""
        nside = plan.nside // 2
        known = plan.valid | plan.shallow
        _, valid = degrade(known.astype(np.float64), known, nside, min_fraction=1.0)
        model = sky_model.degraded(nside)
        unknown = InpaintingPlan(nside, valid, ~valid, np.zeros_like(valid))
        reach = REACH * Tiling.cover(plan.nside, np.empty(0, np.int64)).grid.side
        deep = np.flatnonzero(plan.depth > reach / 2)
        lmax = min(model.lmax, 2 * nside)
        return cls(
            inpainter.prepare(unknown, model), known, deep, lmax, _window_ratio(sky_model, model, lmax)
        )

    def predict(self, filled: FloatArray) -> tuple[AnyArray, FloatArray]:
        """The deep pixels and their values, from a map whose shallow holes are filled."""
        nside = int(np.sqrt(filled.size / 12)) // 2
        values, _ = degrade(filled, self.known, nside, min_fraction=1.0)
        coarse = self.predictor.predict(values)
        harmonics = Harmonics(nside, min(3 * nside - 1, 2 * self.lmax))
        alm = scale_alm(resize_alm(harmonics.analysis(coarse), harmonics.lmax, self.lmax), self.window)
        theta, phi = pixel_angles(2 * nside, self.deep)
        return self.deep, evaluate(alm, self.lmax, theta, phi, epsilon=1e-6)


def _window_ratio(fine: SkyModel, coarse: SkyModel, lmax: int) -> FloatArray:
    """(lmax+1,) amplitude ratio of fine to averaged signal."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.sqrt(fine.signal_cl[: lmax + 1] / coarse.signal_cl[: lmax + 1])
    return np.where(np.isfinite(ratio), ratio, 1.0)
