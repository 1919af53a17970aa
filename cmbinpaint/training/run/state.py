"""What changes while training: weights, their running mean, the optimizer, the step.

Inputs: a network, a recipe, a device, the processes. Outputs: updates, and the state as a `Checkpoint` and back.
"""

import copy
import math
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from cmbinpaint.errors import CheckpointError
from cmbinpaint.nn.devices import computes_bf16
from cmbinpaint.training.recipes.recipe import Recipe
from cmbinpaint.training.recipes.recipe_sections import StageRecipe
from cmbinpaint.training.run.checkpoint import Checkpoint, TensorDict, check_fits, describe
from cmbinpaint.training.run.distributed import World, synchronize_batch_norm, wrap


class TrainingState:
    """A network being trained.

    Parameters
    ----------
    model
        The network; moved to `device` and to channels-last.
    recipe
        Says how it is updated.
    device
        Where it lives.
    world
        The processes that train it together.

    Attributes
    ----------
    step
        Updates done.
    model, ema
        The network, and the same with the running mean of its weights.
    network
        The network as training calls it: over several processes, it means their gradients.
    """

    def __init__(
        self, model: nn.Module, recipe: Recipe, device: torch.device, world: World | None = None
    ) -> None:
        self.recipe, self.device, self.world = recipe, device, world or World()
        self.step = 0
        model = synchronize_batch_norm(model, self.world, device)
        self.model = model.to(device).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        self.ema = copy.deepcopy(self.model).eval().requires_grad_(False)
        self.bf16 = recipe.precision == "bf16" or (recipe.precision == "auto" and computes_bf16(device))
        self.begin_stage(recipe.plan[0], 0)

    def begin_stage(self, stage: StageRecipe, done: int) -> None:
        """Follow a stage of which `done` steps are behind; at its start the optimizer forgets the stage before."""
        self._stage, self._stage_start = stage, self.step - done
        freeze = getattr(self.model, "freeze_encoder_norm", None)
        if freeze is not None:
            freeze(stage.freeze_encoder_norm)
        if not done:
            options = self.recipe.optimizer
            algorithm = torch.optim.AdamW if options.algorithm == "adamw" else torch.optim.Adam
            self.optimizer = algorithm(
                self.model.parameters(), lr=options.lr, betas=options.betas, weight_decay=options.weight_decay
            )
        self.network = wrap(self.model, self.world, self.device)

    def autocast(self) -> AbstractContextManager[None]:
        """The context in which the network runs, in the recipe's precision."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16) if self.bf16 else nullcontext()

    def one_of_several(self, *, last: bool) -> AbstractContextManager[Any]:
        """The context of a batch whose gradients are added up; processes share them with the `last` one."""
        if last or self.world.size == 1:
            return nullcontext()
        return self.network.no_sync()  # type: ignore[operator]

    def learning_rate(self, step: int) -> float:
        """The rate of update number `step` of the run, counted from 0; schedules start again in each stage."""
        options, here = self.recipe.optimizer, step - self._stage_start
        lr = self._stage.lr or options.lr
        if here < options.warmup_steps:
            return lr * (here + 1) / options.warmup_steps
        if options.schedule == "constant":
            return lr
        way = min(1.0, (here - options.warmup_steps) / max(1, self._stage.steps - 1 - options.warmup_steps))
        share = options.final_lr_share
        return lr * (share + (1 - share) * 0.5 * (1 + math.cos(math.pi * way)))

    def begin_step(self) -> None:
        """Remember what a forward pass changes, for `abandon_step`."""
        self._random = self._random_states()
        self._buffers = [buffer.clone() for buffer in self.model.buffers()]

    def abandon_step(self) -> None:
        """Be as before `begin_step`: no gradient, and buffers and random numbers untouched."""
        self.optimizer.zero_grad(set_to_none=True)
        for buffer, before in zip(self.model.buffers(), self._buffers, strict=True):
            buffer.copy_(before)
        self._set_random_states(self._random)

    def gradient_norm(self) -> float:
        """Clip the gradient as the recipe says; gives its norm before."""
        limit = self.recipe.optimizer.grad_clip
        most = limit or math.inf
        return float(nn.utils.clip_grad_norm_(self.model.parameters(), most))

    def update(self) -> None:
        """Take one step with the gradients added up."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate(self.step)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self.world.spread(self.model.buffers())  # running means of batch norm, where each process has its own
        self._update_mean()

    @torch.no_grad()
    def _update_mean(self) -> None:
        # Early on the mean forgets faster, or it would hold on to the random start.
        decay = min(self.recipe.ema_decay, self.step / (self.step + 9))
        for mean, now in zip(self.ema.state_dict().values(), self.model.state_dict().values(), strict=True):
            if mean.is_floating_point():
                mean.lerp_(now, 1 - decay)
            else:
                mean.copy_(now)

    def to_checkpoint(
        self, position: Mapping[str, Any] | None = None, losses: Mapping[str, Any] | None = None
    ) -> Checkpoint:
        """Everything needed to go on, as tensors by name; where the run stands and its losses go along."""
        return Checkpoint(
            step=self.step,
            recipe=self.recipe.to_mapping(),
            model=dict(self.model.state_dict()),
            ema=dict(self.ema.state_dict()),
            optimizer=self._optimizer_tensors(),
            random=self._random_states(),
            position=position or {},
            losses=losses or {},
        )

    def restore(self, checkpoint: Checkpoint) -> None:
        """Become the state that was saved.

        Raises
        ------
        CheckpointError
            If it is of another architecture, or lacks what its run had; names the first tensor that differs.
        """
        expected = self.model.state_dict()
        for state in (checkpoint.model, checkpoint.ema):
            check_fits(state, expected)
        self.model.load_state_dict(checkpoint.model)
        self.ema.load_state_dict(checkpoint.ema)
        self._restore_optimizer(checkpoint.optimizer)
        self.step = checkpoint.step
        try:
            self._set_random_states(checkpoint.random)
        except (KeyError, RuntimeError, TypeError) as error:
            raise CheckpointError(f"the checkpoint's random state is none of torch's ({error})") from error

    def _random_states(self) -> TensorDict:
        states = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            states["cuda"] = torch.cuda.get_rng_state(self.device)
        return states

    def _set_random_states(self, states: Mapping[str, Tensor]) -> None:
        torch.set_rng_state(states["cpu"])
        if self.device.type == "cuda" and "cuda" in states:
            torch.cuda.set_rng_state(states["cuda"], self.device)

    def _optimizer_tensors(self) -> TensorDict:
        states = self.optimizer.state_dict()["state"]
        names = [name for name, _ in self.model.named_parameters()]
        return {
            f"{names[index]}/{what}": value
            for index, state in states.items()
            for what, value in state.items()
        }

    def _restore_optimizer(self, tensors: Mapping[str, Tensor]) -> None:
        parameters = dict(self.model.named_parameters())
        whole = {"step", "exp_avg", "exp_avg_sq"}
        for name, value in tensors.items():
            parameter, _, what = name.rpartition("/")
            if parameter not in parameters or what not in whole:
                raise CheckpointError(
                    f"the optimizer's tensor {name!r} belongs to no parameter of this network"
                )
            weight = parameters[parameter]
            shape = torch.Size() if what == "step" else weight.shape
            if value.shape != shape or value.dtype != torch.float32:
                raise CheckpointError(
                    f"the optimizer's tensor {name!r} is {describe(value)}; its parameter needs float32 {tuple(shape)}"
                )
            if what == "step":
                own = value.clone()
            else:
                own = torch.empty_like(weight).copy_(value)  # in the weight's own memory order
            self.optimizer.state[weight][what] = own.detach()
        for name, weight in parameters.items():
            if missing := sorted(whole - (self.optimizer.state.get(weight) or dict.fromkeys(whole)).keys()):
                raise CheckpointError(f"the checkpoint has no tensor '{name}/{missing[0]}' of the optimizer")
