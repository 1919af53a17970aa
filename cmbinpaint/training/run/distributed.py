"""Several processes that train one network, as torchrun starts them.

Inputs: torchrun's environment. Outputs: a `World`; the network as several processes train it.

Every process makes the whole batch and keeps its fraction of the rows, so that n processes take the very step that one
would take with the same batch, up to the rounding of sums; but on CPUs batch norm is that of each process. Their
output folder must be one that all see; the first process writes it.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from cmbinpaint.errors import DeviceError
from cmbinpaint.nn.devices import find_device


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

    def spread(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite tensors by the first process's."""
        if self.size > 1:
            for tensor in tensors:
                dist.broadcast(tensor, 0)

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
        If the device is not available, or torchrun's environment is incomplete.
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


def synchronize_batch_norm(model: nn.Module, world: World, device: torch.device) -> nn.Module:
    """Have batch norm look at the rows of all processes, on the devices that torch can do it on (CUDA).

    On CPUs each process normalizes by its own rows, and the running means are the first process's (`World.spread`).
    """
    if world.size == 1 or device.type != "cuda":
        return model
    return nn.SyncBatchNorm.convert_sync_batchnorm(model)


def wrap(model: nn.Module, world: World, device: torch.device) -> nn.Module:
    """The network as training calls it: its gradients are means over all processes."""
    if world.size == 1:
        return model
    return DistributedDataParallel(model, device_ids=[device] if device.type == "cuda" else None)
