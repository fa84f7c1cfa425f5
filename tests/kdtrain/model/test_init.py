"""Initial weights: He's distribution, files that fit, files that do not, and files that attack."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn

from kdtrain.model.init import MODEL_FILE, InitError, freeze_all_but_fc, load_init
from kdtrain.model.resnet import Model, build_model


def _model(name: str = "resnet10", n_classes: int = 3, seed: int = 0) -> Model:
    return build_model(name, n_classes=n_classes, seed=seed)


def _copy(model: Model) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def _equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_convolutions_follow_he() -> None:
    """A 3x3 convolution from 128 to 256 channels has deviation √(2 / (256 · 9)) and mean 0, within sampling error."""
    weight = _model().get_submodule("layer4").get_parameter("0.conv1.weight")
    expected = (2 / (256 * 9)) ** 0.5
    assert weight.std().item() == pytest.approx(expected, rel=0.01)
    assert abs(weight.mean().item()) < 0.01 * expected


def test_normalisation_starts_neutral_and_fc_within_its_bound() -> None:
    """Scales are 1, shifts 0; the fc layer of 256 inputs lies within and fills ± 1/16."""
    model = _model(n_classes=50)
    norms = [m for m in model.modules() if isinstance(m, nn.GroupNorm)]
    assert len(norms) == 1 + 4 * 2 + 3
    assert all((m.weight == 1).all() and (m.bias == 0).all() for m in norms)
    assert 0.99 / 16 < model.fc.weight.abs().max().item() <= 1 / 16
    assert 0.8 / 16 < model.fc.bias.abs().max().item() <= 1 / 16


def test_only_fc_is_trained_after_freezing() -> None:
    """Phase III leaves 256 · 3 weights and 3 biases to train, and a backward pass touches nothing else."""
    model = _model()
    freeze_all_but_fc(model)
    model(torch.ones(1, 3, 32, 32)).logits_BK.sum().backward()
    assert {name for name, p in model.named_parameters() if p.grad is not None} == {"fc.weight", "fc.bias"}


def _batch_norm_resnet18(path: Path) -> dict[str, Tensor]:
    reference = torchvision.models.resnet18(num_classes=5)
    for module in reference.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -1, 1)
    torch.save(reference.state_dict(), path)
    weights: dict[str, Tensor] = reference.state_dict()
    return weights


def test_batch_normalisation_is_mapped_and_reported(tmp_path: Path) -> None:
    """A torchvision resnet18: 20 convolutions loaded, 20 scales and shifts mapped, statistics and fc left out."""
    weights = _batch_norm_resnet18(tmp_path / "resnet18.pth")
    model = _model("resnet18")
    fresh = _copy(model)
    report = load_init(model, tmp_path / "resnet18.pth")
    assert (len(report.loaded), len(report.mapped), len(report.skipped)) == (20, 40, 20 * 3 + 2)
    assert set(report.loaded) | set(report.mapped) | {"fc.weight", "fc.bias"} == set(fresh)
    assert dict(report.skipped)["fc.weight"] == "the classes of fc are 5 there, 3 here"
    assert dict(report.skipped)["bn1.running_mean"] == "group normalisation keeps no running statistics"
    ours = model.state_dict()
    assert all(torch.equal(ours[name], weights[name]) for name in (*report.loaded, *report.mapped))
    assert torch.equal(ours["fc.weight"], fresh["fc.weight"])
    assert "60 of 62 tensors loaded, 40 of them from batch to group normalisation; 62 left out" in str(report)


def test_run_folder_gives_every_tensor(tmp_path: Path) -> None:
    """The model.safetensors of a run with the same classes is loaded whole, fc included."""
    source, model = _model(seed=1), _model(seed=2)
    save_file(source.state_dict(), tmp_path / MODEL_FILE)
    report = load_init(model, tmp_path)
    assert _equal(_copy(model), _copy(source))
    assert set(report.loaded) == set(source.state_dict())
    assert report.mapped == () and report.skipped == ()


@pytest.mark.parametrize("prefix", ["", "backbone.", "model.encoder."])
def test_a_file_without_a_classifier_fits(tmp_path: Path, prefix: str) -> None:
    """An encoder as timm saves it, under its own names or as a part of another: all but fc, which starts anew."""
    weights = {
        f"{prefix}{name}": value
        for name, value in _batch_norm_resnet18(tmp_path / "whole.pth").items()
        if not name.startswith("fc.")
    }
    save_file(weights, tmp_path / "encoder.safetensors")
    model = _model("resnet18")
    fresh = _copy(model)
    report = load_init(model, tmp_path / "encoder.safetensors")
    assert (len(report.loaded), len(report.mapped), report.fresh) == (20, 40, ("fc.weight", "fc.bias"))
    assert (
        "60 of 62 tensors loaded, 40 of them from batch to group normalisation; fc is not in the file"
        in str(report)
    )
    ours = model.state_dict()
    assert torch.equal(ours["layer4.1.conv2.weight"], weights[f"{prefix}layer4.1.conv2.weight"])
    assert torch.equal(ours["fc.weight"], fresh["fc.weight"])


def test_half_a_classifier_is_refused(tmp_path: Path) -> None:
    """A file that has weights of fc and no biases is damaged, not an encoder."""
    weights = _model().state_dict()
    del weights["fc.bias"]
    save_file(weights, tmp_path / MODEL_FILE)
    with pytest.raises(InitError, match=r"fc\.bias is not in the file"):
        load_init(_model(), tmp_path)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_weights_of_timm_fit(tmp_path: Path, name: str) -> None:
    """Its ResNets have torchvision's names; one with a deep stem is refused by what does not fit."""
    timm = pytest.importorskip("timm", reason="needs timm")
    save_file(timm.create_model(name, num_classes=0).state_dict(), tmp_path / "timm.safetensors")
    report = load_init(_model(name), tmp_path / "timm.safetensors")
    assert len(report.loaded) + len(report.mapped) + 2 == len(_model(name).state_dict())
    save_file(timm.create_model("resnet10t").state_dict(), tmp_path / "deep.safetensors")
    with pytest.raises(InitError, match=r"does not fit this model: bn1|does not fit this model: conv1"):
        load_init(_model(), tmp_path / "deep.safetensors")


@pytest.mark.parametrize("wrapper", ["state_dict", "model"])
def test_wrapped_checkpoints_of_several_gpus_are_understood(tmp_path: Path, wrapper: str) -> None:
    """A state dict below 'state_dict' or 'model', with names that begin with 'module.', loads like a plain one."""
    source, model = _model(seed=1), _model(seed=2)
    inner = {f"module.{name}": value for name, value in source.state_dict().items()}
    torch.save({wrapper: inner, "epoch": 3}, tmp_path / "checkpoint.pth")
    load_init(model, tmp_path / "checkpoint.pth")
    assert _equal(_copy(model), _copy(source))


def test_half_precision_is_widened(tmp_path: Path) -> None:
    """A float16 file fills a float32 model with the file's rounded values."""
    source, model = _model(seed=1), _model(seed=2)
    save_file({n: v.half() for n, v in source.state_dict().items()}, tmp_path / MODEL_FILE)
    load_init(model, tmp_path)
    assert model.conv1.weight.dtype == torch.float32
    assert torch.equal(model.conv1.weight, source.conv1.weight.half().float())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("resnet18", r"conv1.weight is \(64, 3, 7, 7\) in the file, \(32, 3, 7, 7\) in the model"),
        ("resnet34", r"and \d+ more\); choose the --model"),
    ],
)
def test_other_architecture_is_refused_and_changes_nothing(tmp_path: Path, given: str, message: str) -> None:
    """A file of a larger ResNet names its first mismatches and leaves every weight as it was."""
    save_file(_model(given).state_dict(), tmp_path / MODEL_FILE)
    model = _model()
    before = _copy(model)
    with pytest.raises(InitError, match=message):
        load_init(model, tmp_path)
    assert _equal(_copy(model), before)


def test_missing_tensor_is_named(tmp_path: Path) -> None:
    """A file without one normalisation's shift is refused by that name."""
    weights = _model().state_dict()
    del weights["layer2.0.bn1.bias"]
    save_file(weights, tmp_path / MODEL_FILE)
    with pytest.raises(InitError, match=r"layer2\.0\.bn1\.bias is not in the file"):
        load_init(_model(), tmp_path)


def test_diverged_weights_are_refused(tmp_path: Path) -> None:
    """One NaN in a file refuses it, naming the tensor."""
    weights = _model().state_dict()
    weights["conv1.weight"][0, 0, 0, 0] = float("nan")
    save_file(weights, tmp_path / MODEL_FILE)
    with pytest.raises(InitError, match=r"conv1\.weight is not finite floating point"):
        load_init(_model(), tmp_path)


class _Attack:
    """Creates a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.target,)


def test_pickled_code_is_not_run(tmp_path: Path) -> None:
    """A checkpoint that would create a file when unpickled is refused, and the file is not there."""
    target = tmp_path / "proof"
    torch.save({"conv1.weight": _Attack(target)}, tmp_path / "attack.pth")
    with pytest.raises(InitError, match=r"read without executing anything"):
        load_init(_model(), tmp_path / "attack.pth")
    assert not target.exists()


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
@pytest.mark.parametrize("keep", [0, 100])
def test_cut_off_files_are_refused_plainly(tmp_path: Path, name: str, keep: int) -> None:
    """An empty or cut-off file of either kind is refused by its path."""
    whole = tmp_path / f"whole-{name}"
    weights = {"conv1.weight": torch.ones(4, 3, 7, 7)}
    if name.endswith(".pth"):
        torch.save(weights, whole)
    else:
        save_file(weights, whole)
    (tmp_path / name).write_bytes(whole.read_bytes()[:keep])
    with pytest.raises(InitError, match=rf"{name}: not weights"):
        load_init(_model(), tmp_path / name)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "holds list, not tensors by name"),
        ({}, "holds dict, not tensors by name"),
        ({"epoch": 3, "conv1.weight": torch.ones(1)}, "epoch: not tensors; pass the state dict alone"),
    ],
)
def test_files_without_weights_are_refused(tmp_path: Path, content: Any, message: str) -> None:
    """A list, an empty dict, and tensors mixed with other things are refused, saying what was found."""
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(InitError, match=message):
        load_init(_model(), tmp_path / "other.pth")


def test_absent_file_says_what_to_pass(tmp_path: Path) -> None:
    """A folder without model.safetensors is refused with the path that was looked for."""
    with pytest.raises(InitError, match=r"model\.safetensors: there is no such file; pass a run's folder"):
        load_init(_model(), tmp_path)
