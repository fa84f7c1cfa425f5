"""A bundle from Python: whole or refused, and asked without PyTorch where that is possible."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from fixtures.training_runs import weights_sha256
from kdtrain import load_bundle
from kdtrain.bundle import load
from kdtrain.errors import UsageError


@pytest.fixture
def copy(bundle, tmp_path):
    """One that a test may damage."""
    return shutil.copytree(bundle, tmp_path / "copy")


def refused(folder) -> str:
    """The message that a bundle is refused with."""
    with pytest.raises(UsageError) as error:
        load_bundle(folder)
    return str(error.value)


def test_it_says_what_the_network_is(bundle, evaluated_teacher):
    """Classes, magnification, identity, network and the fc layer's weights."""
    loaded = load_bundle(str(bundle))
    assert (loaded.name, loaded.magnification) == ("teacher-10x-resnet10", 10)
    assert loaded.classes == loaded.network.classes == loaded.document.classes
    assert loaded.document.files["model.safetensors"].sha256 == weights_sha256(evaluated_teacher)
    weights = load_file(bundle / "model.safetensors")
    np.testing.assert_array_equal(loaded.fc_weight_KC, weights["fc.weight"])
    assert len(loaded.sha256) == 64


def test_both_backends_give_the_same_answer(bundle):
    """ONNX Runtime and PyTorch, on a CPU."""
    loaded = load_bundle(bundle)
    runtimes = [loaded.runtime(backend=name, device="cpu", threads=1) for name in ("onnx", "pytorch")]
    assert [runtime.name for runtime in runtimes] == ["onnxruntime on cpu", "pytorch on cpu"]
    image = np.random.default_rng(0).integers(0, 256, (1, 50, 60, 3), dtype=np.uint8)
    one, two = (runtime.infer(image).logits_BK for runtime in runtimes)
    np.testing.assert_allclose(one, two, atol=1e-4)


def test_the_fc_layer_explains_the_logits(bundle):
    """Mean over the cells of the feature map times the weights gives the logits, up to a constant per class."""
    loaded = load_bundle(bundle)
    runtime = loaded.runtime(device="cpu")
    rng = np.random.default_rng(1)
    rest = []
    for _ in range(2):
        out = runtime.infer(rng.integers(0, 256, (1, 64, 64, 3), dtype=np.uint8))
        rest.append(out.logits_BK[0] - loaded.fc_weight_KC @ out.feature_map_BCHW[0].mean(axis=(1, 2)))
    np.testing.assert_allclose(*rest, atol=1e-4)


def test_an_answer_on_a_cpu_needs_no_pytorch(bundle):
    """A laptop starts at once: torch is not imported."""
    program = (
        "import sys, numpy as np, kdtrain\n"
        "runtime = kdtrain.load_bundle(sys.argv[1]).runtime(device='cpu')\n"
        "runtime.infer(np.zeros((1, 9, 9, 3), np.uint8))\n"
        "print([name for name in ('torch', 'slideprep', 'deepspeed') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", program, bundle], capture_output=True, text=True, check=False)
    assert run.stdout == "[]\n", run.stderr


@pytest.mark.parametrize("name", ["model.onnx", "model.safetensors"])
def test_a_changed_file_is_refused(copy, name):
    """One bit suffices."""
    data = bytearray((copy / name).read_bytes())
    data[-1] ^= 1
    (copy / name).write_bytes(data)
    assert f"{name} is not the file that bundle.json describes" in refused(copy)


def test_the_card_may_be_edited(copy):
    """README.md is for people."""
    (copy / "README.md").write_text("ours")
    assert load_bundle(copy).classes


@pytest.mark.parametrize("name", ["bundle.json", "model.onnx", "model.safetensors"])
def test_a_missing_file_is_named(copy, name):
    """With what to give instead."""
    (copy / name).unlink()
    assert f"it has no {name}" in refused(copy)


def test_a_file_is_no_bundle(copy):
    """A slide given in its place, or one of the bundle's own files, is told from a disk that fails."""
    assert "is no bundle" in refused(copy / "model.onnx")


def test_a_pointer_of_git_lfs_is_told_from_damage(copy):
    """What a clone without LFS leaves."""
    (copy / "model.onnx").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    assert "git lfs pull" in refused(copy)


def rewritten(folder, **changes):
    """Another bundle.json in a bundle; names of files are changed to describe what is there."""
    raw = json.loads((folder / "bundle.json").read_text())
    for name, entry in raw["files"].items():
        data = (folder / name).read_bytes()
        entry.update(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
    (folder / "bundle.json").write_text(json.dumps({**raw, **changes}))


def test_weights_of_another_network_are_refused(copy):
    """Even where their checksum is right."""
    weights = load_file(copy / "model.safetensors")
    save_file({**weights, "fc.weight": weights["fc.weight"][:1]}, copy / "model.safetensors")
    rewritten(copy)
    assert "an fc layer of shape (1, 256)" in refused(copy)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(copy, value):
    """Even where their checksum is right, and whichever backend would compute: the tensor is named."""
    weights = load_file(copy / "model.safetensors")
    weights["conv1.weight"].flat[0] = value
    save_file(weights, copy / "model.safetensors")
    rewritten(copy)
    assert "holds weights that are not finite ('conv1.weight' first)" in refused(copy)


def test_weights_with_other_names_are_refused_by_pytorch(copy):
    """Their number is right, and they do not fit."""
    weights = load_file(copy / "model.safetensors")
    weights["conv9.weight"] = weights.pop("conv1.weight")
    save_file(weights, copy / "model.safetensors")
    rewritten(copy)
    with pytest.raises(UsageError, match="is not the resnet10 of"):
        load_bundle(copy).runtime(backend="pytorch", device="cpu")


def test_what_is_no_safetensors_file_is_refused(copy):
    """Even where its checksum is right."""
    (copy / "model.safetensors").write_bytes(b"no tensors")
    rewritten(copy)
    assert "holds no tensors" in refused(copy)


@pytest.mark.parametrize(
    ("backend", "device", "words"),
    [("onnx", "cuda", "on a CPU here"), ("tvm", "cpu", "no backend 'tvm'"), ("auto", "tpu", "'tpu'")],
)
def test_what_cannot_compute_is_refused(bundle, backend, device, words):
    """With the choices there are."""
    with pytest.raises(UsageError, match=words):
        load_bundle(bundle).runtime(backend=backend, device=device)


def test_a_gpu_is_looked_for_without_pytorch(tmp_path, monkeypatch):
    """On Linux a driver's device file decides whether PyTorch is asked; once it is imported, it always is."""
    monkeypatch.setattr(load.sys, "platform", "linux")
    monkeypatch.setattr(load, "GPU_DRIVERS", (str(tmp_path / "nvidiactl"),))
    assert load.may_have_gpu()
    monkeypatch.delitem(load.sys.modules, "torch")
    assert not load.may_have_gpu()
    (tmp_path / "nvidiactl").touch()
    assert load.may_have_gpu()
