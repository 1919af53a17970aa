"""Several processes that train one network, as torchrun starts them.

Inputs: torchrun's environment. Outputs: a `World`, the shard of a batch that is this process's, batch norm over all
shards.

Every process reads the whole batch's recipe and keeps its share of the rows, so that n processes take the very step
that one would take with the same batch, up to the rounding of sums. Their output folder must be one that all see;
the first process writes it.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from cmbinpaint.errors import DeviceError, RecipeError
from cmbinpaint.nn.devices import find_device
from cmbinpaint.training.data.prefetch import Stream


@dataclass(frozen=True)
class World:
    """The processes of a run: this one's rank, and how many there are."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes logs and checkpoints."""
        return self.rank == 0

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over processes, on the CPU."""
        return self._reduce(tensor, dist.ReduceOp.SUM) if self.size > 1 else tensor.cpu()

    def mean(self, tensor: Tensor) -> Tensor:
        """The mean over processes."""
        return self.sum(tensor) / self.size

    def highest(self, number: int) -> int:
        """The highest of a whole number over processes: a signal that one of them got is everyone's."""
        if self.size == 1:
            return number
        return int(self._reduce(torch.tensor(number), dist.ReduceOp.MAX))

    def wait(self) -> None:
        """Go on when all processes are here."""
        if self.size > 1:
            dist.barrier()

    def _reduce(self, tensor: Tensor, how: Any) -> Tensor:
        on_gpu = dist.get_backend() == "nccl"
        shared = tensor.detach().clone().to("cuda" if on_gpu else "cpu")
        dist.all_reduce(shared, op=how)
        return shared.cpu()


@contextmanager
def join_world(device: str) -> Iterator[tuple[World, torch.device]]:
    """Join the processes that torchrun started, if it did; gives this one's place and device.

    Raises
    ------
    DeviceError
        If the device is not there, or torchrun's environment is incomplete.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size <= 1:
        yield World(), find_device(device)
        return
    missing = [
        name for name in ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ
    ]
    if missing:
        raise DeviceError(
            f"WORLD_SIZE is {size} but {missing[0]} is not set; start several processes with torchrun"
        )
    place = find_device(device)
    if place.type == "cuda" and device in ("auto", "cuda"):
        place = find_device(f"cuda:{os.environ['LOCAL_RANK']}")
        torch.cuda.set_device(place)
    dist.init_process_group("nccl" if place.type == "cuda" else "gloo")
    try:
        world = World(dist.get_rank(), dist.get_world_size())
        yield world, place
        # Gloo's threads let go of a collective's tensors a moment after it: a process that ends at once can be aborted
        # by a thread that asks the interpreter for one. This last collective has none.
        world.wait()
    finally:
        dist.destroy_process_group()


@dataclass(frozen=True)
class Shard:
    """The rows of each batch that are one process's; a `prefetch.Stream`."""

    stream: Stream
    rank: int
    size: int

    def batch(self, index: int, split: str = "train") -> Any:
        """Batch `index`, rows rank, rank + size, ...

        Raises
        ------
        RecipeError
            If the rows cannot be shared equally.
        """
        batch = self.stream.batch(index, split)
        arrays = {f.name: getattr(batch, f.name) for f in fields(batch)}
        rows = {array.shape[0] for array in arrays.values()}
        if any(n % self.size for n in rows):
            raise RecipeError(
                f"a batch of {max(rows)} cannot be shared equally by {self.size} processes; make the batch a "
                "multiple of that"
            )
        return replace(
            batch, **{name: array[self.rank :: self.size].copy() for name, array in arrays.items()}
        )


class SharedBatchNorm2d(nn.BatchNorm2d):
    """Batch norm over the shards of all processes, on any device."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalize (B, C, H, W); in training by the statistics of the whole batch."""
        if not self.training:
            return super().forward(x)
        wide = x.float()
        count = wide.numel() / wide.shape[1] * dist.get_world_size()
        mean = _sum_over_processes(wide.sum((0, 2, 3))) / count
        centered = wide - mean[:, None, None]
        variance = _sum_over_processes(centered.square().sum((0, 2, 3))) / count
        self._remember(mean, variance, count)
        y = centered * torch.rsqrt(variance + self.eps)[:, None, None]
        return (y * self.weight[:, None, None] + self.bias[:, None, None]).to(x.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor, count: float) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        share = self.momentum if self.momentum is not None else 0.1
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance * count / max(count - 1, 1), share)


def share_batch_norm(module: nn.Module) -> nn.Module:
    """Replace the batch norms of a network by `SharedBatchNorm2d` with the same state."""
    for name, child in module.named_children():
        if type(child) is nn.BatchNorm2d:
            shared = SharedBatchNorm2d(child.num_features, child.eps, child.momentum, child.affine)
            shared.load_state_dict(child.state_dict())
            setattr(module, name, shared)
        else:
            share_batch_norm(child)
    return module


def wrap(model: nn.Module, world: World, device: torch.device) -> nn.Module:
    """The network as training calls it: its gradients are means over all processes."""
    if world.size == 1:
        return model
    return DistributedDataParallel(model, device_ids=[device] if device.type == "cuda" else None)


class _Sum(torch.autograd.Function):
    """Sum over processes, with the gradient of the sum over processes of what follows."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        total = tensor.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        dist.all_reduce(total)
        return total


def _sum_over_processes(tensor: Tensor) -> Tensor:
    return _Sum.apply(tensor)
