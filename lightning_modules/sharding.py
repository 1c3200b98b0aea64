"""Parameters in shares over devices (FSDP2), under Lightning's ``ModelParallelStrategy``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch.distributed as dist
from lightning.pytorch import LightningModule
from lightning.pytorch.strategies import DDPStrategy
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method


def shard(
    owner: LightningModule, network: nn.Module, blocks: Iterable[nn.Module] = (), entrances: Sequence[str] = ()
) -> None:
    """Keeps of a network's parameters a share on each device; nothing happens without a device mesh, or again.

    Shares are taken over the devices of a node, and nodes have copies, with the strategy's sizes at ``auto``; with
    ``tensor_parallel_size: 1`` they are taken over all devices. All processes begin with the first one's parameters.

    Args:
        owner: The module that trains it, which knows the devices.
        network: The network; its parameters outside blocks are gathered for as long as it is computed.
        blocks: Its parts whose parameters are gathered one after the other; each has to be called as a whole.
        entrances: Methods through which it is called, beside ``forward``.
    """
    if owner.device_mesh is None or isinstance(network, FSDPModule):
        return
    begin_alike(owner, network)
    mesh = _shares(owner.device_mesh)
    for block in blocks:
        fully_shard(block, mesh=mesh)
    # Gathered again for each use, so that none of it is left over from validation.
    fully_shard(network, mesh=mesh, reshard_after_forward=True)
    for name in entrances:
        register_fsdp_forward_method(network, name)


def begin_alike(owner: LightningModule, network: nn.Module) -> None:
    """Puts a network on the device with the first process's parameters and buffers, where devices are meshed."""
    if owner.device_mesh is None:
        return
    network.to(owner.trainer.strategy.root_device)
    for tensor in (*network.parameters(), *network.buffers()):
        dist.broadcast(tensor.detach(), src=0)


def average_gradients(owner: LightningModule, parameters: Iterable[nn.Parameter]) -> None:
    """Gives copies of parameters the mean of their gradients over all devices, where devices are meshed."""
    if owner.device_mesh is None:
        return
    for parameter in parameters:
        if parameter.grad is not None:
            dist.all_reduce(parameter.grad)
            parameter.grad /= dist.get_world_size()


def store_arguments(owner: LightningModule, checkpoint: dict[str, Any]) -> None:
    """Stores networks that were given as arguments as they were given: their shares could not be pickled."""
    if owner.device_mesh is not None:
        checkpoint["hyper_parameters"] = dict(owner.hparams_initial)


def keep_copies(owner: LightningModule) -> None:
    """Says in ``setup`` that every device has a copy of a module, and that steps may leave parameters out.

    Raises:
        ValueError: If the module is under ``ModelParallelStrategy``, which would not keep copies equal.
    """
    if owner.device_mesh is not None:
        raise ValueError(
            f"{type(owner).__name__} is small and is not sharded over devices: "
            "use --trainer.strategy ddp in place of ModelParallelStrategy"
        )
    allow_unused_parameters(owner)


def allow_unused_parameters(owner: LightningModule) -> None:
    """Lets DDP look for parameters that a step left out, such as those of a table without rows in the batch.

    A strategy that was given ``find_unused_parameters`` keeps it.
    """
    strategy = owner.trainer.strategy
    if isinstance(strategy, DDPStrategy):
        strategy._ddp_kwargs.setdefault("find_unused_parameters", True)


def _shares(mesh: DeviceMesh) -> DeviceMesh:
    """Returns the mesh with copies over its first dimension, if any, and shares over its last."""
    nodes, devices = mesh["data_parallel"], mesh["tensor_parallel"]
    if devices.size() == 1:
        return nodes
    return devices if nodes.size() == 1 else mesh
