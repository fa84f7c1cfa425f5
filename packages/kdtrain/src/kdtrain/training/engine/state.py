"""Weights and optimizer state by parameter name, whatever the ZeRO stage and the number of ranks.

With ZeRO 1 and 2 each rank holds a slice of one flat vector per group; here the slices are put together under the
names of the model's parameters, bit for bit, and taken apart again. DeepSpeed's own checkpoints hold one pickle
per rank, which executes code when it is read, and fit one number of ranks and one stage only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed
from torch import Tensor, nn

from kdtrain.errors import UsageError

_COUNTER = "step"
"""The one entry of Adam's state that is not of its parameter's shape; the same on every rank."""


@dataclass(frozen=True, kw_only=True)
class TrainingState:
    """What a run continues from, on the CPU.

    Attributes:
        weights: The model's state_dict.
        optimizer: "<parameter>/<key>" to tensor, such as "fc.weight/exp_avg"; empty before the first update.
        step: Updates taken.
        loss_scale: Scale and updates since it changed; (1, 0) without fp16.
        average: Moving average of the trained weights by name; None where none is kept.
    """

    weights: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]
    step: int
    loss_scale: tuple[float, int] = (1.0, 0)
    average: Mapping[str, Tensor] | None = None

    @property
    def chosen(self) -> dict[str, Tensor]:
        """What a run publishes: the weights, those that are averaged in their average."""
        return {**self.weights, **(self.average or {})}


def weights_of(module: nn.Module) -> dict[str, Tensor]:
    """Copies of a model's weights on the CPU, each in memory of its own."""
    return {name: _copy(tensor) for name, tensor in module.state_dict().items()}


def _copy(tensor: Tensor) -> Tensor:
    # ZeRO lays all parameters into one buffer; without the clone a file would hold it once per parameter.
    return tensor.detach().to("cpu").contiguous().clone()


def optimizer_state_of(module: nn.Module, optimizer: Any) -> dict[str, Tensor]:
    """Optimizer state by parameter; every rank must call it, and every rank gets all.

    Args:
        module: The model that is trained.
        optimizer: A torch.optim optimizer over its parameters, or DeepSpeed's ZeRO wrapper of one.
    """
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    state: dict[str, Tensor] = {}
    for parameter, entries in _entries(optimizer):
        for key, tensor in entries.items():
            state[f"{names[id(parameter)]}/{key}"] = tensor
    return state


def _entries(optimizer: Any) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
    if isinstance(optimizer, torch.optim.Optimizer):
        for parameter, entries in optimizer.state.items():
            yield parameter, {key: _copy(value) for key, value in entries.items() if value is not None}
        return
    for flat, members in zip(optimizer.single_partition_of_fp32_groups, optimizer.bit16_groups, strict=True):
        entries = {k: v for k, v in optimizer.optimizer.state.get(flat, {}).items() if v is not None}
        for parameter in members:
            yield parameter, {key: _gathered(parameter, key, value) for key, value in entries.items()}


def _gathered(parameter: nn.Parameter, key: str, value: Tensor) -> Tensor:
    if key == _COUNTER:
        return _copy(value)
    whole = torch.zeros(parameter.numel(), dtype=value.dtype, device=value.device)
    for ours, theirs in _fragment(parameter, value, whole):
        theirs.copy_(ours)
    # Added as bytes: each is zero on all ranks but one, so even the sign of a zero survives.
    torch.distributed.all_reduce(whole.view(torch.uint8))
    return _copy(whole.view(parameter.shape))


def _fragment(parameter: Any, flat: Tensor, whole: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """The part of a parameter that lies on this rank: in this rank's flat slice, and in the whole parameter."""
    mapping = parameter._hp_mapping
    if mapping is not None:
        ours, theirs = mapping.hp_fragment_address, mapping.lp_fragment_address
        yield flat.narrow(0, ours.start, ours.numel), whole.narrow(0, theirs.start, theirs.numel)


def restore(module: nn.Module, optimizer: Any, state: TrainingState) -> None:
    """Put a state back; every rank must call it.

    Args:
        module: The model that is trained.
        optimizer: As for optimizer_state_of; no update may have been taken yet.
        state: From the same model; the number of ranks and the ZeRO stage may differ.

    Raises:
        UsageError: The state is of another model, or of another optimizer.
    """
    try:
        module.load_state_dict(dict(state.weights))
    except RuntimeError as error:
        raise UsageError(f"the checkpoint is of another model: {error}") from error
    by_name = _by_parameter(module, state.optimizer)
    if isinstance(optimizer, torch.optim.Optimizer):
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        _load(optimizer, [_laid_out(parameter, by_name.get(id(parameter), {})) for parameter in parameters])
        return
    optimizer.refresh_fp32_params()
    groups = zip(optimizer.single_partition_of_fp32_groups, optimizer.bit16_groups, strict=True)
    _load(optimizer.optimizer, [_flattened(flat, members, by_name) for flat, members in groups])


def _by_parameter(module: nn.Module, state: Mapping[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    parameters = {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}
    found: dict[int, dict[str, Tensor]] = {}
    for name, tensor in state.items():
        parameter, _, key = name.rpartition("/")
        if parameter not in parameters:
            raise UsageError(
                f"the checkpoint has optimizer state for {parameter!r}, which is not trained here"
            )
        found.setdefault(id(parameters[parameter]), {})[key] = tensor
    if found and len(found) != len(parameters):
        given = f"the checkpoint has optimizer state for {len(found)} of {len(parameters)} trained parameters"
        raise UsageError(f"{given}; it is of a run that trained others")
    return found


def _laid_out(parameter: nn.Parameter, entries: Mapping[str, Tensor]) -> dict[str, Tensor]:
    # In memory as the parameter lies: Adam's one kernel for all goes through both side by side.
    return {
        key: value if key == _COUNTER else torch.empty_like(parameter, device="cpu").copy_(value).detach()
        for key, value in entries.items()
    }


def _flattened(flat: Tensor, members: list[Any], by_name: dict[int, dict[str, Tensor]]) -> dict[str, Tensor]:
    entries: dict[str, Tensor] = {}
    for parameter in members:
        for key, whole in by_name.get(id(parameter), {}).items():
            if key == _COUNTER:
                entries[key] = whole
                continue
            slot = entries.setdefault(key, torch.zeros_like(flat))
            for ours, theirs in _fragment(parameter, slot, whole.flatten()):
                ours.copy_(theirs)
    return entries


def _load(optimizer: torch.optim.Optimizer, entries: list[dict[str, Tensor]]) -> None:
    # load_state_dict casts each tensor to the device and type that this optimizer wants.
    settings = optimizer.state_dict()["param_groups"]
    state = {index: entry for index, entry in enumerate(entries) if entry}
    optimizer.load_state_dict({"state": state, "param_groups": settings})
