"""What was prepared for a plan, kept for the next map with the same plan.

Inputs: a model, a plan, a sky model. Outputs: a `Filler`, made now or found.

Neighbor weights and transforms take most of the time of a first map and depend on plan, model and sky model alone. What
was made last is kept as long as the user keeps the plan: it holds a copy of the plan (which shares all arrays), never
the plan itself, so that it goes when the plan goes. Each thread has its own, for a solver works on one map at a time;
the neighbor weights, which take the time and the memory, are the plan's and shared.
"""

import copy
import threading
from collections.abc import Hashable
from weakref import WeakKeyDictionary

from cmbinpaint.pipeline.filler import Filler
from cmbinpaint.problem.model import Inpainter
from cmbinpaint.problem.plan import InpaintingPlan
from cmbinpaint.sims.sky_model import SkyModel


class _Kept(threading.local):
    def __init__(self) -> None:
        self.of: WeakKeyDictionary[InpaintingPlan, tuple[Hashable, Filler]] = WeakKeyDictionary()


_kept = _Kept()


def prepared_filler(
    inpainter: Inpainter, plan: InpaintingPlan, sky_model: SkyModel, refine: int | None
) -> Filler:
    """The filler of this model, plan and sky model; the last one made for each plan is kept."""
    key = (inpainter, sky_model.digest, refine)
    kept = _kept.of.get(plan)
    if kept is not None and kept[0] == key:
        return kept[1]
    copied = copy.copy(plan)
    copied.__dict__["factors"] = plan.factors
    filler = Filler.prepare(inpainter, copied, sky_model, refine)
    _kept.of[plan] = (key, filler)
    return filler
