"""The weights that a model starts from: He initialisation, or those of a file (``--init``).

A file is a kdtrain run's model.safetensors, or a state dict with the names of torchvision's and timm's ResNets (.pth,
.safetensors), with or without a classifier, its names behind a prefix of their own or not. It is read as tensors only:
nothing in it is executed. Where it has batch normalisation, the learned scale and shift go to the group normalisation
in its place. Running statistics have no counterpart and are left out rather than folded into the convolutions: group
normalisation takes mean and deviation anew of each image, and would for the most part divide a factor out again.
Which tensors went where is reported.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kdtrain.errors import UsageError
from kdtrain.text import plural

MODEL_FILE = "model.safetensors"
"""The best weights of a run, in its folder."""
_CLASSIFIER = ("fc.weight", "fc.bias")
_FIRST = "conv1.weight"
"""Of a ResNet: what stands before it stands before every name."""
_NAMED_FAULTS = 3


class InitError(UsageError):
    """A file cannot serve as initial weights: damaged, not weights, or of another architecture."""


@dataclass(frozen=True, kw_only=True)
class InitReport:
    """What became of every tensor of the file, and of every parameter of the model.

    Attributes:
        path: The file that was read.
        loaded: Parameters copied as they are.
        mapped: Scales and shifts of a batch normalisation, copied to the group normalisation in its place.
        skipped: (tensor of the file, reason) of all that was left out. A parameter of the model that is named
            here keeps its value.
        fresh: Parameters of a classifier that the file does not have: they keep their value.
    """

    path: Path
    loaded: tuple[str, ...]
    mapped: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...]
    fresh: tuple[str, ...] = ()

    def __str__(self) -> str:
        reasons = sorted({reason for _, reason in self.skipped})
        left = f"; {len(self.skipped)} left out ({'; '.join(reasons)})" if reasons else ""
        mapped = f", {len(self.mapped)} of them from batch to group normalisation" if self.mapped else ""
        fit = len(self.loaded) + len(self.mapped)
        kept = len({name for name, _ in self.skipped} & set(_CLASSIFIER)) + len(self.fresh)
        fresh = "; fc is not in the file and starts anew" if self.fresh else ""
        return f"{self.path}: {fit} of {plural(fit + kept, 'tensor')} loaded{mapped}{fresh}{left}"


def he_init(model: nn.Module, generator: torch.Generator | None) -> None:
    """Draw fresh weights in place.

    Convolutions: normal with variance 2 / fan_out, fan_out = out_channels · kernel area (He et al. 2015, the
    paper's reference 57, in the variant that torchvision uses for its ResNets). Normalisation: scale 1, shift 0.
    The fc layer has no ReLU behind it, for which He's variance is derived; as in torchvision it keeps PyTorch's
    default, weights and biases uniform within ± 1 / √in_features.

    Args:
        model: Its modules are visited in order, so that the draw depends on nothing but generator and model.
        generator: None uses PyTorch's global generator.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu", generator=generator)
            if module.bias is not None:  # of a projector
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.GroupNorm):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear):
            bound = module.in_features**-0.5
            nn.init.uniform_(module.weight, -bound, bound, generator=generator)
            nn.init.uniform_(module.bias, -bound, bound, generator=generator)


def freeze_all_but_fc(model: nn.Module) -> None:
    """Leave the fc layer as the only one that is trained: Phase III of the paper (section 3.4)."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in _CLASSIFIER)


def load_init(model: nn.Module, path: Path | str) -> InitReport:
    """Copy the weights of a file into a model, all that fit, or none where the architecture differs.

    The fc layer is left out where its number of classes differs or the file has none; everything else must fit.

    Args:
        model: Changed in place; dtype and device stay.
        path: A .safetensors file, a PyTorch checkpoint (a state dict, or a dict that holds one under
            ``state_dict`` or ``model``), or the folder of a kdtrain run.

    Raises:
        InitError: The file is missing, damaged, holds more than tensors, or is of another architecture; the
            first mismatches are named. The model is then unchanged.
    """
    path = Path(path)
    path = path / MODEL_FILE if path.is_dir() else path
    weights = _read(path)
    report = _compare(model.state_dict(), weights, path)
    with torch.no_grad():
        parameters = dict(model.named_parameters())
        for name in (*report.loaded, *report.mapped):
            parameters[name].copy_(weights[name])
    return report


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise InitError(f"{path}: there is no such file; pass a run's folder, or a .safetensors or .pth file")
    try:
        content = _load(path)
    # A damaged or hostile file fails in as many ways as there are such files.
    except Exception as error:
        first_line = str(error).strip().splitlines()[:1]
        raise InitError(
            f"{path}: not weights that can be read without executing anything "
            f"({type(error).__name__}: {''.join(first_line)[:200]}); pass a state dict or a .safetensors file"
        ) from error
    return _state_dict(content, path)


def _load(path: Path) -> Any:
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    return torch.load(path, map_location="cpu", weights_only=True)


def _state_dict(content: Any, path: Path) -> dict[str, Tensor]:
    for wrapper in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping) or not content:
        raise InitError(f"{path}: holds {type(content).__name__}, not tensors by name; pass a state dict")
    foreign = [str(name) for name, value in content.items() if not isinstance(value, Tensor)]
    if foreign:
        some = ", ".join(foreign[:_NAMED_FAULTS])
        raise InitError(f"{path}: {some}: not tensors; pass the state dict alone, not a whole checkpoint")
    # Models wrapped for several GPUs save their names with this prefix.
    return _bare({str(name).removeprefix("module."): value for name, value in content.items()})


def _bare(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The names without what all of them begin with, as where a network was a part of another: ``backbone.``."""
    prefix = min(
        (name.removesuffix(_FIRST) for name in weights if name.endswith(_FIRST)), key=len, default=""
    )
    shared = prefix.endswith(".") and all(name.startswith(prefix) for name in weights)
    return {name.removeprefix(prefix) if shared else name: value for name, value in weights.items()}


def _compare(own: Mapping[str, Tensor], weights: Mapping[str, Tensor], path: Path) -> InitReport:
    loaded, mapped, faults = [], [], []
    skipped = [(name, reason) for name in weights if (reason := _reason_to_skip(name, own, weights))]
    left_out = {name for name, _ in skipped}
    fresh = () if set(_CLASSIFIER) & weights.keys() else tuple(name for name in _CLASSIFIER if name in own)
    for name in sorted(own.keys() | (weights.keys() - left_out)):
        if name in left_out or name in fresh:
            continue
        fault = _fault(name, own.get(name), weights.get(name))
        if fault is not None:
            faults.append(fault)
        elif name.rpartition(".")[0] + ".running_mean" in weights:
            mapped.append(name)
        else:
            loaded.append(name)
    if faults:
        more = f" (and {len(faults) - _NAMED_FAULTS} more)" if len(faults) > _NAMED_FAULTS else ""
        raise InitError(
            f"{path}: does not fit this model: {'; '.join(faults[:_NAMED_FAULTS])}{more}; "
            "choose the --model that the file was made with, or another file"
        )
    return InitReport(
        path=path, loaded=tuple(loaded), mapped=tuple(mapped), skipped=tuple(skipped), fresh=fresh
    )


def _reason_to_skip(name: str, own: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> str | None:
    if name.endswith((".running_mean", ".running_var", ".num_batches_tracked")):
        return "group normalisation keeps no running statistics"
    shapes = [
        (weights[part].shape, own[part].shape) for part in _CLASSIFIER if part in weights and part in own
    ]
    # The number of classes is the first axis; a difference in any other is another architecture.
    if name in _CLASSIFIER and any(theirs[:1] != ours[:1] for theirs, ours in shapes):
        return f"the classes of fc are {shapes[0][0][0]} there, {shapes[0][1][0]} here"
    return None


def _fault(name: str, own: Tensor | None, given: Tensor | None) -> str | None:
    if own is None:
        return f"{name} is not in the model"
    if given is None:
        return f"{name} is not in the file"
    if own.shape != given.shape:
        return f"{name} is {tuple(given.shape)} in the file, {tuple(own.shape)} in the model"
    if not given.is_floating_point() or not bool(given.isfinite().all()):
        return f"{name} is not finite floating point"
    return None
