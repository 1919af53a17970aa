"""What was prepared for a plan, kept for the next map with the same plan.

Inputs: a model, a plan, a sky model. Outputs: a `Filler`, made now or found.

Neighbor weights and transforms take most of the time of a first map and depend on plan, model and sky model alone. What
was made last is kept as long as the user keeps the plan: it holds a copy of the plan (which shares all arrays), never
the plan itself, so that it goes when the plan goes.
"""

import copy
import threading
from collections.abc import Hashable
from weakref import WeakKeyDictionary

from cmbinpaint.pipeline.filler import Filler
from cmbinpaint.problem.model import Inpainter
from cmbinpaint.problem.plan import InpaintingPlan
from cmbinpaint.sims.sky_model import SkyModel

_lock = threading.Lock()
_kept: WeakKeyDictionary[InpaintingPlan, tuple[Hashable, Filler]] = WeakKeyDictionary()


def prepared_filler(
    inpainter: Inpainter, plan: InpaintingPlan, sky_model: SkyModel, refine: int | None
) -> Filler:
    """The filler of this model, plan and sky model; the last one made for each plan is kept."""
    key = (inpainter, sky_model.digest, refine)
    with _lock:
        kept = _kept.get(plan)
    if kept is not None and kept[0] == key:
        return kept[1]
    filler = Filler.prepare(inpainter, copy.copy(plan), sky_model, refine)
    with _lock:
        _kept[plan] = (key, filler)
    return filler
