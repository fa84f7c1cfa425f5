"""The ONNX graph is the network: at every size, in every output; both runtimes refuse the same."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch
from safetensors.torch import load_file

from kdtrain import load_bundle
from kdtrain.bundle.onnx import MOST_PIXELS, agreement, onnx_bytes, opset_of, probe_shapes
from kdtrain.bundle.runtime_onnx import OnnxRuntime
from kdtrain.bundle.runtime_pytorch import PytorchRuntime
from kdtrain.errors import NotFiniteError, TrainingError
from kdtrain.model.network import Network
from kdtrain.model.resnet import MIN_SIDE_PX

SIZES = [(1, 5, 5), (1, 33, 47), (3, 64, 96), (1, 300, 17)]
"""(batch, height, width)."""


def network(stride: int) -> Network:
    """Of three classes."""
    return Network(
        model="resnet10",
        output_stride=stride,
        classes=("a", "b", "ç"),
        magnification=2.5,
        mean=(200.0, 150.0, 190.0),
        std=(20.0, 30.0, 25.0),
    )


def pytorch(described: Network, seed: int = 0) -> PytorchRuntime:
    """The same network in PyTorch."""
    return PytorchRuntime(described.build(seed=seed), described, device="cpu", threads=1)


def noise(*shape: int):
    """Any colours, the same on every call."""
    return np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)


def exported(described: Network) -> bytes:
    """The graph of the network of seed 0."""
    return onnx_bytes(described.build(seed=0).eval(), described)


def asked(folder: Path, graph: bytes) -> OnnxRuntime:
    """A graph ready to be asked."""
    path = folder / "model.onnx"
    path.write_bytes(graph)
    return OnnxRuntime(path, min_side_px=MIN_SIDE_PX, threads=1)


@pytest.fixture(scope="module")
def whole(bundle):
    """The bundle, whose network has the usual output stride of 32."""
    loaded = load_bundle(bundle)
    assert loaded.network.output_stride == 32
    return loaded


@pytest.fixture(scope="module")
def runtimes(whole):
    """Both runtimes of one network."""
    return [whole.runtime(backend=backend, device="cpu", threads=1) for backend in ("pytorch", "onnx")]


@pytest.fixture(scope="module")
def graph():
    """The same weights at the smallest output stride; it takes seconds to export."""
    return exported(network(8))


@pytest.fixture(scope="module", params=[32, 8])
def pair(request, whole, runtimes, graph, tmp_path_factory):
    """A network at the largest and the smallest output stride, in PyTorch and as ONNX."""
    if request.param == 32:
        return whole.network, *runtimes
    described = network(request.param)
    return described, pytorch(described), asked(tmp_path_factory.mktemp("onnx"), graph)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_all_outputs_agree_at_every_size(pair, size):
    """Probabilities, logits and feature map, of noise and of blank slide; shapes are those that were promised."""
    described, ours, theirs = pair
    cells = tuple(-(-side // described.output_stride) for side in size[1:])
    for images in (noise(*size), np.full((*size, 3), 255, np.uint8)):
        one, two = ours.infer(images), theirs.infer(images)
        for left, right in zip(one, two, strict=True):
            assert left.dtype == right.dtype == np.float32
            np.testing.assert_allclose(left, right, atol=1e-4)
        np.testing.assert_allclose(one.logits_BK, two.logits_BK, atol=1e-5)
        assert one.feature_map_BCHW.shape == two.feature_map_BCHW.shape == (size[0], 256, *cells)
        np.testing.assert_allclose(one.probabilities_BK.sum(axis=1), 1, atol=1e-6)


def test_large_images_agree_as_well_as_small_ones(runtimes):
    """Of a megapixel, where InstanceNormalization is off by 7e-6: sums of many values are taken in stages."""
    one, two = (runtime.infer(noise(1, 1000, 1000)).logits_BK for runtime in runtimes)
    np.testing.assert_allclose(one, two, atol=3e-6)


def test_images_of_a_batch_do_not_touch_each_other(runtimes):
    """Each is answered as if it were alone."""
    images = noise(3, 40, 56)
    for runtime in runtimes:
        together = runtime.infer(images).logits_BK
        alone = np.concatenate([runtime.infer(image[None]).logits_BK for image in images])
        np.testing.assert_allclose(together, alone, atol=1e-5)


def test_blank_slide_is_answered_exactly_on_a_cpu(whole, runtimes):
    """Within 1e-5 of float64, where a channels-last image would be off by 3e-4."""
    described = whole.network
    model = described.build(seed=0)
    model.load_state_dict(load_file(whole.path / "model.safetensors"))
    image = np.full((1, 97, 260, 3), 255, np.uint8)
    mean, std = (torch.tensor(v, dtype=torch.float64).view(3, 1, 1) for v in (described.mean, described.std))
    with torch.inference_mode():
        pixels = torch.tensor(image).permute(0, 3, 1, 2).double()
        exact = model.double().eval()((pixels - mean) / std).logits_BK.numpy()
    for runtime in runtimes:
        np.testing.assert_allclose(runtime.infer(image).logits_BK, exact, atol=1e-5)


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (noise(8, 8), "image[None]"),
        (noise(1, 8, 8).astype(np.float32), "float32"),
        (noise(1, 8, 8).transpose(0, 3, 1, 2), "(1, 3, 8, 8)"),
        (noise(0, 8, 8), "(0, 8, 8, 3)"),
        (noise(1, 4, 90), "90 x 4 px is too small"),
    ],
)
def test_both_refuse_what_is_no_batch_of_images(runtimes, images, words):
    """Another shape or type, and sides below the smallest: the same message from each."""
    said = []
    for runtime in runtimes:
        with pytest.raises(ValueError, match="image") as error:
            runtime.infer(images)
        said.append(str(error.value))
    assert said[0] == said[1]
    assert words in said[0]


def test_the_file_says_what_it_is_and_not_where_it_was_made(graph):
    """Classes, magnification and colours are in it; no path, no name of a module of ours, no note beside a node."""
    model = onnx.load_from_string(graph)
    said = {entry.key: entry.value for entry in model.metadata_props}
    assert said["classes"] == '["a", "b", "ç"]'
    assert (said["magnification"], said["mean"]) == ("2.5", "[200.0, 150.0, 190.0]")
    assert not any(node.metadata_props or node.doc_string for node in model.graph.node)
    assert not any(
        word in graph for word in (b"/site-packages", b".py", b"kdtrain", str(Path.home()).encode() + b"/")
    )
    assert opset_of(graph) == 20
    free = [[d.dim_param or d.dim_value for d in t.type.tensor_type.shape.dim] for t in model.graph.input]
    assert free == [["batch", 3, "height", "width"]]
    (feature_map,) = [t for t in model.graph.output if t.name == "feature_map"]
    assert feature_map.type.tensor_type.shape.dim[2].dim_param == "feature_height"


def test_the_agreement_names_sizes_and_differences(whole, runtimes):
    """The smallest and the largest image are among them."""
    found = agreement(*runtimes, whole.network, (90, 70))
    assert found.images[0] == (1, MIN_SIDE_PX, MIN_SIDE_PX)
    assert found.images[-1] == (1, 70, 90)
    assert found.logits < 1e-4
    assert found.probabilities < 1e-5


def test_a_graph_of_other_weights_is_refused(whole, runtimes):
    """It would answer otherwise than what was evaluated."""
    with pytest.raises(TrainingError, match="is not the network"):
        agreement(pytorch(whole.network, seed=1), runtimes[1], whole.network, (40, 40))


def test_the_largest_test_image_is_bounded():
    """Its sides keep their ratio, and it stays below 16 megapixels."""
    _, height, width = probe_shapes((20_000, 5_000))[-1]
    assert height * width <= MOST_PIXELS
    assert width / height == pytest.approx(4, rel=1e-3)
    assert probe_shapes((300, 200))[-1] == (1, 200, 300)


def test_missing_memory_is_told_by_both(runtimes, monkeypatch):
    """Whatever the library calls it, it is a MemoryError with the image's size."""
    onnx, torch_runtime = sorted(runtimes, key=lambda runtime: runtime.name)

    def fail(words):
        def run(*_):
            raise RuntimeError(words)

        return run

    class Session:
        run = staticmethod(fail("Non-zero status code returned while running Conv node: std::bad_alloc"))

    monkeypatch.setattr(onnx, "_session", Session())
    monkeypatch.setattr(torch_runtime, "_model", fail("DefaultCPUAllocator: can't allocate memory"))
    for runtime in (onnx, torch_runtime):
        with pytest.raises(MemoryError, match="48 x 64 px"):
            runtime.infer(noise(1, 64, 48))


def test_outputs_that_are_no_numbers_are_told_by_both(runtimes, monkeypatch):
    """Where logits are NaN or infinite neither runtime answers, since the first class would seem the highest."""
    onnx_runtime = runtimes[1]
    said = [
        np.zeros((1, 3), np.float32),
        np.array([[0, np.nan, 1]], np.float32),
        np.zeros((1, 1, 1, 1), np.float32),
    ]
    monkeypatch.setattr(onnx_runtime, "_session", SimpleNamespace(run=lambda *_: said))
    described = network(32)
    model = described.build(seed=0)
    model.fc.bias.data[0] = -math.inf
    for runtime in (onnx_runtime, PytorchRuntime(model, described, device="cpu", threads=1)):
        with pytest.raises(NotFiniteError, match=rf"outputs are not finite \({runtime.name}\)"):
            runtime.infer(noise(1, 40, 40))


def test_a_graph_that_cannot_compute_is_named(runtimes, monkeypatch, capfd):
    """By its file, in one line, and ONNX Runtime prints nothing itself: its lines hold names out of the graph."""
    runtime = min(runtimes, key=lambda runtime: runtime.name)

    class Session:
        def run(self, *_):
            raise RuntimeError("Non-zero status\ncode: node '\x1b[2J'")

    monkeypatch.setattr(runtime, "_session", Session())
    with pytest.raises(
        TrainingError, match=r"model\.onnx cannot be computed for an image of 48 x 64 px"
    ) as error:
        runtime.infer(noise(1, 64, 48))
    assert r"Non-zero status code: node '\u001b[2J'" in str(error.value)
    assert capfd.readouterr().err == ""


def test_other_faults_of_a_library_are_not_hidden(runtimes, monkeypatch):
    """An error that has nothing to do with memory comes through as it is."""
    torch_runtime = max(runtimes, key=lambda runtime: runtime.name)

    def broken(*_):
        raise RuntimeError("a kernel is missing")

    monkeypatch.setattr(torch_runtime, "_model", broken)
    with pytest.raises(RuntimeError, match="a kernel is missing"):
        torch_runtime.infer(noise(1, 64, 48))
