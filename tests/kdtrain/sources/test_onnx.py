"""Teachers that are ONNX files: kdtrain/sources/onnx.py and onnx_ports.py."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from onnx import TensorProto, helper

from fixtures.networks import FREE, write_beside, write_colours, write_graph
from kdtrain.errors import UsageError
from kdtrain.sources.onnx import OnnxTiles
from kdtrain.sources.settings import TileSettings

PLAIN = TileSettings(
    tile_px=16,
    overlap_px=0,
    mean=(0, 0, 0),
    std=(1, 1, 1),
    levels=1,
    features_output=None,
    logits_output=None,
    extra=None,
    classes=("gland", "stroma"),
    precision="fp32",
)
CPU = torch.device("cpu")
TILES = torch.linspace(0, 1, 3 * 3 * 16 * 16).view(3, 3, 16, 16)
"""Three tiles of 16 px."""
COLOURS = torch.nn.functional.avg_pool2d(TILES, 8)
"""What the graphs say of them: the mean of every patch of 8 px."""


def opened(path: Path, **settings: object) -> OnnxTiles:
    """A graph as a teacher of tiles of 16 px, without standardising."""
    return OnnxTiles(path, replace(PLAIN, **settings), CPU, strict=False)


@pytest.mark.parametrize(
    "takes", [FREE, ("n", "h", "w", 3), (1, 3, 16, 16), (2, 3, "h", "w"), ("n", 16, 16, 3)]
)
@pytest.mark.parametrize("gives", ["map", "tokens"])
def test_every_layout_says_the_same(tmp_path: Path, takes, gives) -> None:
    """Channels first or last, sizes fixed or free, batches of one, of two (the last filled up) or of all."""
    network = opened(write_colours(tmp_path / "net.onnx", takes=takes, gives=gives))
    answer = network.say(TILES)
    assert torch.allclose(answer.map_BChw, COLOURS, atol=1e-6)
    assert answer.logits_BK is None and not network.gives_logits
    assert (network.channels, network.plan.height) == (3, 16)


def test_grey_levels_are_given_whole(tmp_path: Path) -> None:
    """A graph of uint8 sees 0 to 255, as ours do; a mean is none of its matters."""
    path = write_colours(tmp_path / "net.onnx", kind="uint8")
    network = opened(path, mean=None, std=None)
    levels = (TILES * 255).round()
    assert torch.allclose(
        network.say(levels / 255).map_BChw, torch.nn.functional.avg_pool2d(levels, 8), atol=1e-3
    )
    assert network.settings["pixels"] == "uint8"
    for other in ({"mean": (0.5, 0.5, 0.5)}, {"std": (1, 1, 1)}, {"levels": 255}):
        with pytest.raises(
            UsageError, match="--tile-mean, --tile-std and --tile-range are of networks that take"
        ):
            opened(path, **{"mean": None, "std": None, **other})


def test_half_precision_is_given_to_graphs_that_take_it(tmp_path: Path) -> None:
    """Within its three digits."""
    network = opened(write_colours(tmp_path / "net.onnx", kind="float16"))
    assert torch.allclose(network.say(TILES).map_BChw, COLOURS, atol=1e-3)


def test_leading_tokens_are_left_out(tmp_path: Path) -> None:
    """Five tokens of zeros before those of a 2 x 2 grid: found, or as many as were said."""
    path = write_colours(tmp_path / "net.onnx", gives="tokens", extra=5)
    for extra in (None, 5):
        assert torch.allclose(opened(path, extra=extra).say(TILES).map_BChw, COLOURS, atol=1e-6)
    with pytest.raises(
        UsageError, match=r"gives 9 tokens, .* 16 x 16 px and the 2 of --extra-tokens, tried on"
    ):
        opened(path, extra=2)


def test_logits_are_the_columns_of_the_sets_classes(tmp_path: Path) -> None:
    """Found by their number, or by name; others are left alone, and "none" leaves them out."""
    path = write_colours(tmp_path / "net.onnx", classes=2)
    network = opened(path)
    red = TILES[:, 0].mean(dim=(1, 2))
    assert torch.allclose(network.say(TILES).logits_BK, torch.stack([0 * red, red], dim=1), atol=1e-6)
    assert network.settings["logits_output"] == "logits"
    assert not opened(path, logits_output="none").gives_logits
    assert not opened(path, classes=("a", "b", "c")).gives_logits
    assert not opened(path, classes=()).gives_logits
    with pytest.raises(UsageError, match=r"gives logits of shape \(1, 2\), and those .* \(1, 3\)"):
        opened(path, classes=("a", "b", "c"), logits_output="logits")
    with pytest.raises(UsageError, match="the set names no classes"):
        opened(path, classes=(), logits_output="logits")


def test_a_vector_a_tile_is_a_map_of_one_cell(tmp_path: Path) -> None:
    """Of an encoder without tokens; beside logits of another width it is found."""
    network = opened(write_colours(tmp_path / "net.onnx", gives="pooled", classes=2))
    assert torch.allclose(network.say(TILES).map_BChw[..., 0, 0], TILES.mean(dim=(2, 3)), atol=1e-6)
    assert network.gives_logits


def two_maps(path: Path) -> Path:
    """A graph with two outputs of four axes."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, list(FREE)) for name in ("low", "high")]
    nodes = [helper.make_node("Neg", ["image"], ["low"]), helper.make_node("Abs", ["image"], ["high"])]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, list(FREE))
    return write_graph(path, helper.make_graph(nodes, "two", [image], values))


def test_of_two_maps_one_is_chosen_by_name(tmp_path: Path) -> None:
    """Both are shown; a name that is none is refused with what there is."""
    path = two_maps(tmp_path / "net.onnx")
    with pytest.raises(
        UsageError, match=r"gives 'low' \(1, 3, 16, 16\), 'high' .*choose one by --features-output"
    ):
        opened(path)
    assert torch.equal(opened(path, features_output="low").say(TILES).map_BChw, -TILES)
    with pytest.raises(UsageError, match=r"has no output 'middle' \(--features-output\); there is 'low'"):
        opened(path, features_output="middle")


def test_tiles_are_as_large_as_the_graph_says(tmp_path: Path) -> None:
    """A fixed size needs no option and takes no other; a free one needs it, or regions whole."""
    fixed = write_colours(tmp_path / "fixed.onnx", takes=("n", 3, 16, 24))
    plan = opened(fixed, tile_px=None).plan
    assert (plan.height, plan.width) == (16, 24)
    for other in (16, 0):
        with pytest.raises(
            UsageError, match=rf"--tile-px {other or 'region'}: .* takes images of 24 x 16 px alone"
        ):
            opened(fixed, tile_px=other)
    free = write_colours(tmp_path / "free.onnx")
    with pytest.raises(
        UsageError, match=r"takes images of any size; give the side of its tiles by --tile-px"
    ):
        opened(free, tile_px=None)
    assert opened(free, tile_px=0).plan.whole


@pytest.mark.parametrize("takes", [("n", "c", "h", "w"), ("n", 1, "h", "w"), ("n", 3, "h"), ("n", 4, 16, 16)])
def test_what_takes_no_image_is_refused(tmp_path: Path, takes) -> None:
    """No axis of three colours, one of grey, three axes: with the shape that it has and the rule."""
    graph = helper.make_graph(
        [helper.make_node("Identity", ["image"], ["map"])],
        "other",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, list(takes))],
        [helper.make_tensor_value_info("map", TensorProto.FLOAT, list(takes))],
    )
    with pytest.raises(UsageError, match=r"takes 'image' tensor\(float\).*a teacher has one input, an image"):
        opened(write_graph(tmp_path / "net.onnx", graph))


def test_other_inputs_and_types_are_refused(tmp_path: Path) -> None:
    """Two inputs, and numbers that are no pixels."""
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, list(FREE))
    more = helper.make_tensor_value_info("text", TensorProto.INT64, list(FREE))
    out = helper.make_tensor_value_info("map", TensorProto.FLOAT, list(FREE))
    both = helper.make_graph(
        [helper.make_node("Identity", ["image"], ["map"]), helper.make_node("Neg", ["text"], ["n"])],
        "both",
        [image, more],
        [out, helper.make_tensor_value_info("n", TensorProto.INT64, list(FREE))],
    )
    with pytest.raises(UsageError, match=r"takes 'image' .*, 'text' tensor\(int64\).*one input"):
        opened(write_graph(tmp_path / "both.onnx", both))
    text = helper.make_graph([helper.make_node("Neg", ["text"], ["n"])], "text", [more], [both.output[1]])
    with pytest.raises(UsageError, match=r"takes 'text' tensor\(int64\)"):
        opened(write_graph(tmp_path / "text.onnx", text))


def test_numbers_beside_a_graph_are_used(tmp_path: Path) -> None:
    """Each colour with what the file beside adds to it."""
    path = write_beside(tmp_path / "net.onnx", location="net.bin", data=tmp_path / "net.bin")
    added = torch.tensor([0.25, 0.5, 0.75]).view(3, 1, 1)
    assert torch.allclose(opened(path).say(TILES).map_BChw, TILES + added)


def test_operators_of_no_standard_are_not_loaded(tmp_path: Path) -> None:
    """A graph that needs a library of its own cannot be opened, and is said to."""
    image, out = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, list(FREE)) for name in ("image", "map")
    )
    graph = helper.make_graph(
        [helper.make_node("Own", ["image"], ["map"], domain="my.ops")], "own", [image], [out]
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid("my.ops", 1)]
    )
    model.ir_version = 9
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(
        UsageError, match=r"cannot be opened by ONNX Runtime \(.*libraries of others are not loaded"
    ):
        opened(tmp_path / "net.onnx")


def test_values_that_are_none_are_refused_when_it_is_tried(tmp_path: Path) -> None:
    """The logarithm of a black pixel, with its deviation in the words."""
    image, out = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, list(FREE)) for name in ("image", "map")
    )
    path = write_graph(
        tmp_path / "net.onnx",
        helper.make_graph([helper.make_node("Log", ["image"], ["map"])], "log", [image], [out]),
    )
    with pytest.raises(UsageError, match=r"gives vectors that are not finite, tried on a tile of 16 x 16 px"):
        opened(path, mean=(1, 1, 1))


def test_a_graph_has_its_own_precision_and_the_gpu_its_own_runtime(tmp_path: Path) -> None:
    """--precision is not its matter; a GPU that was asked for and that ONNX Runtime has none of is refused."""
    path = write_colours(tmp_path / "net.onnx")
    with pytest.raises(UsageError, match="--precision bf16: an ONNX file computes in the types"):
        opened(path, precision="bf16")
    pytest.importorskip("onnxruntime")
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime computes on GPUs")
    with pytest.raises(
        UsageError, match="--device cuda: the ONNX Runtime that is installed computes on the CPU alone"
    ):
        OnnxTiles(path, PLAIN, torch.device("cuda", 0), strict=True)
    assert OnnxTiles(path, PLAIN, torch.device("cuda", 0), strict=False).channels == 3
