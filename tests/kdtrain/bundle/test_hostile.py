"""Bundles that somebody made to do more than to be read: refused in one sentence that names the file and the rule.

Nothing outside of the folder is opened, nothing is executed, and no size that a file only claims is ever taken.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file, save_file

from kdtrain import load_bundle
from kdtrain.bundle.files import MOST_JSON_BYTES
from kdtrain.bundle.graph import graph_problem
from kdtrain.errors import UsageError

WEIGHTS, GRAPH, JSON = "model.safetensors", "model.onnx", "bundle.json"


@pytest.fixture
def copy(bundle: Path, tmp_path: Path) -> Path:
    """A bundle that a test makes hostile."""
    return shutil.copytree(bundle, tmp_path / "bundle")


def signed(folder: Path, **changes: Any) -> None:
    """Make bundle.json describe the files that are there, as whoever made them would have it."""
    raw = json.loads((folder / JSON).read_bytes())
    for name, entry in raw["files"].items():
        data = (folder / name).read_bytes()
        entry.update(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
    (folder / JSON).write_text(json.dumps({**raw, **changes}))


def refused(folder: Path) -> str:
    """The sentence that a bundle is refused with, by whatever opens or runs it."""
    with pytest.raises(UsageError) as error:
        load_bundle(folder).runtime(backend="onnx", device="cpu")
    said = str(error.value)
    assert len(said) < 900 and "\n" not in said
    return said


def test_the_bundle_itself_is_run(copy: Path) -> None:
    """What the tests below change is accepted as it is, so that they see their change refused."""
    signed(copy)
    assert load_bundle(copy).runtime(backend="onnx", device="cpu").name == "onnxruntime on cpu"


# -- The folder --


@pytest.mark.parametrize("name", [JSON, WEIGHTS, GRAPH])
def test_a_link_out_of_the_folder_is_not_followed(copy: Path, tmp_path: Path, name: str) -> None:
    """Not even to a file with the right content."""
    outside = tmp_path / "outside"
    (copy / name).rename(outside)
    (copy / name).symlink_to(outside)
    assert f"{name} is a link out of the bundle" in refused(copy)


def test_the_links_of_a_hub_are_followed(copy: Path, tmp_path: Path) -> None:
    """A hub's cache keeps every file once, as blobs/<digest>, and links to it from snapshots/<revision>."""
    home = tmp_path / "models--lab--student"
    (home / "blobs").mkdir(parents=True)
    snapshot = home / "snapshots" / "0123abcd"
    snapshot.mkdir(parents=True)
    for name in (JSON, WEIGHTS, GRAPH):
        (copy / name).rename(home / "blobs" / name)
        (snapshot / name).symlink_to(Path("../../blobs") / name)
    assert load_bundle(snapshot).classes


def test_a_link_in_a_circle_is_no_file(copy: Path) -> None:
    """It leads to nothing."""
    (copy / GRAPH).unlink()
    (copy / GRAPH).symlink_to(GRAPH)
    assert GRAPH in refused(copy)


def test_a_pipe_is_not_waited_for(copy: Path) -> None:
    """Reading it would never end."""
    (copy / WEIGHTS).unlink()
    os.mkfifo(copy / WEIGHTS)
    assert "is no ordinary file but a pipe or a device" in refused(copy)


# -- bundle.json --


def test_a_bundle_json_of_a_gigabyte_is_not_read(copy: Path) -> None:
    """A sparse file takes no place on a disk, and would take a gigabyte of memory."""
    with (copy / JSON).open("r+b") as file:
        file.truncate(1_000_000_000)
    tracemalloc.start()
    try:
        assert "is larger than any bundle.json (16 MB)" in refused(copy)
        assert tracemalloc.get_traced_memory()[1] < 3 * MOST_JSON_BYTES
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[" * 20_000, "brackets within brackets without end"),
        (b'{"a":' * 20_000, "brackets within brackets without end"),
        (b"\xff\xfe{}", "is not JSON"),
        (b"\0" * 100, "is not JSON"),
        (b"", "is not JSON"),
        (b'{"format": "kdtrain-bundle", "version": [1, 0], "a": ' + b"9" * 5000 + b"}", JSON),
        (b'{"format": "kdtrain-bundle", "version": [2' + b",[1]" * 99_999 + b"]}", "version [2, [1], [1],"),
    ],
    ids=["lists", "objects", "utf-16", "zeros", "empty", "digits", "version"],
)  # fmt: skip
def test_json_that_is_made_to_break_a_parser_is_refused(copy: Path, content: bytes, words: str) -> None:
    """Depth, encodings, emptiness and numbers of 5,000 digits."""
    (copy / JSON).write_bytes(content)
    assert words in refused(copy)


def replaced(raw: Any, place: str, value: Any) -> Any:
    """The content with another value at "input.mean.0"."""
    head, _, rest = place.partition(".")
    if isinstance(raw, list):
        return [replaced(one, rest, value) if rest else value for one in raw]
    return {**raw, head: replaced(raw[head], rest, value) if rest else value}


@pytest.mark.parametrize(
    ("place", "value"),
    [
        *(("input.magnification", value) for value in (0, -1.25, 1e300, "<inf>", "<nan>", "2.5", True, None)),
        *(("input.std.0", value) for value in (0, -1, 1e308, "<nan>")),
        *(("input.mean.0", value) for value in (-1, 256, "<inf>")),
        *(("architecture.parameters", value) for value in (0, 10**30, -5, 1.5)),
        *(("architecture.output_stride", value) for value in (0, 10**9)),
        *(("architecture.min_side_px", value) for value in (0, 10**9)),
        ("classes", []),
        ("classes", ["one"]),
        ("classes", ["one", "one"]),
        ("classes", [f"class {number}" for number in range(10_001)]),
        ("classes", "ab"),
        ("files", {"model.onnx": {"bytes": 1, "sha256": "../../etc/passwd"}}),
        ("training_data.area_px.max", "<inf>"),
    ],
    ids=str,
)  # fmt: skip
def test_values_that_no_network_has_are_refused(bundle: Path, copy: Path, place: str, value: Any) -> None:
    """By the name of the field."""
    raw = replaced(json.loads((bundle / JSON).read_bytes()), place, value)
    text = json.dumps(raw).replace('"<inf>"', "1e999").replace('"<nan>"', "NaN")
    (copy / JSON).write_text(text)
    said = refused(copy)
    assert said.startswith(f"{copy / JSON} is ") and place.partition(".")[0] in said


def test_paths_in_bundle_json_lead_nowhere(copy: Path, tmp_path: Path) -> None:
    """Only files that a bundle has are opened, whatever else it lists, and its name is but a name."""
    raw = json.loads((copy / JSON).read_bytes())
    entry = {"bytes": 1, "sha256": "0" * 64}
    files = {
        **raw["files"],
        **dict.fromkeys(("../outside", "/etc/passwd", "C:\\Windows\\win.ini", "a/b"), entry),
    }
    (copy / JSON).write_text(json.dumps({**raw, "files": files, "name": "../../outside"}))
    before = sorted(tmp_path.rglob("*"))
    assert load_bundle(copy).runtime(backend="onnx", device="cpu")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_size_is_compared_before_a_digest(copy: Path) -> None:
    """A sparse file of a terabyte is not read to its end; the sentence has both sizes."""
    with (copy / GRAPH).open("r+b") as file:
        file.truncate(10**12)
    assert "it has 1,000,000,000,000 bytes, not " in refused(copy)


def test_files_larger_than_the_network_are_refused(copy: Path) -> None:
    """Even where bundle.json says the same."""
    raw = json.loads((copy / JSON).read_bytes())
    with (copy / WEIGHTS).open("r+b") as file:
        file.truncate(10**12)
    raw["files"][WEIGHTS]["bytes"] = 10**12
    (copy / JSON).write_text(json.dumps(raw))
    assert "takes 54,923,016 at most" in refused(copy)


def test_another_digest_is_told_by_file(copy: Path) -> None:
    """Same size, one bit."""
    data = bytearray((copy / WEIGHTS).read_bytes())
    data[-1] ^= 1
    (copy / WEIGHTS).write_bytes(data)
    assert f"{copy / WEIGHTS} is not the file that bundle.json describes: its SHA-256 is another" in refused(
        copy
    )


# -- model.safetensors --


def with_table(data: bytes, change: Callable[[dict[str, Any]], object]) -> bytes:
    """A safetensors file with another table before the same numbers."""
    length = int.from_bytes(data[:8], "little")
    table = json.loads(data[8 : 8 + length])
    changed = change(table)
    text = changed if isinstance(changed, bytes) else json.dumps(table).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


def _overlapping(table: dict[str, Any]) -> None:
    table["fc.bias"]["data_offsets"] = [0, 8]


def _hole(table: dict[str, Any]) -> None:
    last = max(table, key=lambda name: table[name].get("data_offsets", [0, 0])[1])
    table[last]["data_offsets"] = [offset + 4 for offset in table[last]["data_offsets"]]


def _beyond(table: dict[str, Any]) -> None:
    table["fc.bias"]["data_offsets"] = [10**12, 10**12 + 8]


def _negative(table: dict[str, Any]) -> None:
    table["fc.bias"]["data_offsets"] = [-8, 0]


def _other_shape(table: dict[str, Any]) -> None:
    table["fc.bias"]["shape"] = [10**9, 10**9]


def _other_type(table: dict[str, Any]) -> None:
    table["fc.bias"]["dtype"] = "BF16"
    table["fc.bias"]["shape"] = [4]


def _no_type(table: dict[str, Any]) -> None:
    table["fc.bias"]["dtype"] = "OBJECT"


def _twice(table: dict[str, Any]) -> bytes:
    return json.dumps(table).encode()[:-1] + b',"fc.bias":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'


def _deep(table: dict[str, Any]) -> bytes:
    return b'{"a":' + b"[" * 20_000


def _no_names(table: dict[str, Any]) -> None:
    table.clear()


@pytest.mark.parametrize(
    "change",
    [_overlapping, _hole, _beyond, _negative, _other_shape, _other_type, _no_type, _twice, _deep, _no_names],
    ids=lambda change: change.__name__[1:],
)
def test_tables_of_tensors_that_lie_are_refused(
    copy: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    """Offsets that overlap, leave holes or lead out of the file, shapes and types that are not those of the numbers."""
    (copy / WEIGHTS).write_bytes(with_table((copy / WEIGHTS).read_bytes(), change))
    signed(copy)
    assert str(copy / WEIGHTS) in refused(copy)


@pytest.mark.parametrize("length", [0, 7, 3_000_000, 99_000_000, 2**63, 2**64 - 1])
def test_a_length_that_the_table_only_claims_is_not_believed(copy: Path, length: int) -> None:
    """Neither one beyond the file nor one of 99 MB within it, which the library would parse."""
    data = (copy / WEIGHTS).read_bytes()
    (copy / WEIGHTS).write_bytes(length.to_bytes(8, "little") + data[8:])
    signed(copy)
    assert f"{copy / WEIGHTS} holds no tensors" in refused(copy)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_refused(copy: Path, value: float) -> None:
    """A network of NaN answers with its first class and is sure of it."""
    weights = load_file(copy / WEIGHTS)
    weights["layer1.0.conv1.weight"] = weights["layer1.0.conv1.weight"].copy()
    weights["layer1.0.conv1.weight"].flat[7] = value
    save_file(weights, copy / WEIGHTS)
    signed(copy)
    assert "weights that are not finite ('layer1.0.conv1.weight' first)" in refused(copy)


# -- model.onnx --


def _outside_file(model: Any, place: str = "../../../../etc/passwd") -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=place)


def _absolute_file(model: Any) -> None:
    _outside_file(model, "/etc/passwd")


def _beside_file(model: Any) -> None:
    _outside_file(model, "bundle.json")


def _hidden_outside_file(model: Any) -> None:
    """External data without the mark that says so."""
    model.graph.initializer[0].external_data.add(key="location", value="/etc/passwd")


def _custom_domain(model: Any) -> None:
    model.opset_import.add(domain="com.microsoft", version=1)


def _custom_operator(model: Any) -> None:
    model.graph.node[5].domain = "ai.onnx.ml"


def _functions(model: Any) -> None:
    model.functions.add(name="Relu", domain="here")


def _loop(model: Any) -> None:
    """Without end."""
    body = helper.make_graph([], "body", [], [])
    model.graph.node.append(helper.make_node("Loop", ["", ""], ["never"], body=body))


def _zeros_of_a_terabyte(model: Any) -> None:
    """Few bytes in the file, and taken while it is opened: nothing of it depends on an image."""
    shape = numpy_helper.from_array(np.array([10**6, 10**6]), "huge")
    model.graph.initializer.append(shape)
    model.graph.node.insert(0, helper.make_node("ConstantOfShape", ["huge"], ["zeros"]))


def _outer_product(model: Any) -> None:
    """By operators that are allowed: a column times a row, a billion values of 64 KB."""
    for name, shape in (("column", (1 << 15, 1)), ("row", (1, 1 << 15))):
        model.graph.initializer.append(numpy_helper.from_array(np.ones(shape, np.float32), name))
    model.graph.node.insert(0, helper.make_node("Mul", ["column", "row"], ["product"]))


def _doubling(model: Any) -> None:
    """Each operator makes twice as much."""
    model.graph.initializer.append(numpy_helper.from_array(np.ones(1024, np.float32), "d0"))
    nodes = [helper.make_node("Concat", [f"d{step}"] * 2, [f"d{step + 1}"], axis=0) for step in range(40)]
    model.graph.node.extend(nodes)


def _huge_pads(model: Any) -> None:
    conv = next(node for node in model.graph.node if node.op_type == "Conv")
    next(a for a in conv.attribute if a.name == "pads").ints[:] = [10**6] * 4


def _own_edges(model: Any) -> None:
    conv = next(node for node in model.graph.node if node.op_type == "Conv")
    next(a for a in conv.attribute if a.name == "auto_pad").s = b"SAME_UPPER"


def _wrong_shape(model: Any) -> None:
    model.graph.initializer[0].dims.append(10**12)


def _negative_shape(model: Any) -> None:
    model.graph.initializer[0].dims[:] = [-1]


def _other_input(model: Any) -> None:
    model.graph.input[0].name = "picture"


def _more_inputs(model: Any) -> None:
    model.graph.input.append(helper.make_tensor_value_info("second", TensorProto.FLOAT, [1]))


def _fewer_outputs(model: Any) -> None:
    del model.graph.output[1:]


def _text_tensor(model: Any) -> None:
    model.graph.initializer.append(helper.make_tensor("words", TensorProto.STRING, [1], [b"\x1b[31m"]))


def _empty(model: Any) -> None:
    model.Clear()


def _from_nowhere(model: Any) -> None:
    model.graph.node[-1].input[0] = "nothing"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_outside_file, "are in another file"),
        (_absolute_file, "are in another file"),
        (_beside_file, "are in another file"),
        (_hidden_outside_file, "are in another file"),
        (_custom_domain, "operators of 'com.microsoft'"),
        (_custom_operator, "it uses the operator"),
        (_functions, "it brings functions"),
        (_loop, "it uses the operator 'Loop'"),
        (_zeros_of_a_terabyte, "it uses the operator 'ConstantOfShape'"),
        (_outer_product, "'product' would have 1,073,741,824 values"),
        (_doubling, "would have 8,388,608 values"),
        (_huge_pads, "'pads' of a Conv"),
        (_own_edges, "a Conv chooses its own edges"),
        (_wrong_shape, "does not hold the numbers that its shape says"),
        (_negative_shape, "does not hold the numbers that its shape says"),
        (_other_input, "it takes"),
        (_more_inputs, "it takes"),
        (_fewer_outputs, "it takes"),
        (_text_tensor, "'words' is of data type 8"),
        (_empty, "it takes"),
        (_from_nowhere, "nothing makes what a"),
    ],
    ids=lambda value: value.__name__[1:] if callable(value) else "",
)
def test_graphs_that_are_no_network_of_ours_are_not_run(
    copy: Path, change: Callable[[Any], None], words: str
) -> None:
    """Files outside, operators of others, loops, and memory out of a few bytes are refused beforehand."""
    model = onnx.load(copy / GRAPH)
    change(model)
    (copy / GRAPH).write_bytes(model.SerializeToString())
    signed(copy)
    said = refused(copy)
    assert f"{copy / GRAPH} is no graph that 'kdtrain export' writes" in said and words in said


def test_a_graph_for_other_classes_is_not_run(bundle: Path) -> None:
    """Its answers would be read as those of the classes that bundle.json names."""
    assert graph_problem(bundle / GRAPH, classes=2, channels=256) is None
    assert graph_problem(bundle / GRAPH, classes=3, channels=256) == (
        "probabilities is of shape (1, 2) for 3 classes"
    )


@pytest.mark.parametrize("data", [b"", b"\x80" * 1000, b"\x0a\xff\xff\xff\xff\x0f", b"hello"])
def test_what_is_no_graph_at_all_is_refused(copy: Path, data: bytes) -> None:
    """Empty, endless numbers, a length of 4 GB, text."""
    (copy / GRAPH).write_bytes(data)
    signed(copy)
    assert f"{copy / GRAPH} is no graph" in refused(copy)


def test_a_graph_that_only_onnx_runtime_refuses_is_named(copy: Path) -> None:
    """Every operator and shape is in order, and two operators make one tensor."""
    model = onnx.load(copy / GRAPH)
    model.graph.node.append(model.graph.node[5])
    (copy / GRAPH).write_bytes(model.SerializeToString())
    signed(copy)
    assert f"{copy / GRAPH} cannot be run by ONNX Runtime" in refused(copy)


def test_names_of_a_stranger_are_spelled_out(copy: Path) -> None:
    """Of an operator, in the sentence about it."""
    model = onnx.load(copy / GRAPH)
    model.graph.node[5].op_type = "\x1b[2J" * 100
    (copy / GRAPH).write_bytes(model.SerializeToString())
    signed(copy)
    assert r"it uses the operator '\x1b[2J" in refused(copy)


@pytest.mark.parametrize("place", ["shape", "axes"])
def test_numbers_for_shapes_are_in_a_row(copy: Path, place: str) -> None:
    """A table of them passes every other rule, and ONNX Runtime refuses it in the middle of a slide."""
    model = onnx.load(copy / GRAPH)
    wanted = {"shape": "Reshape", "axes": "ReduceMean"}[place]
    names = {node.input[1] for node in model.graph.node if node.op_type == wanted}
    tensor = next(each for each in model.graph.initializer if each.name in names)
    tensor.dims.insert(0, 1)
    (copy / GRAPH).write_bytes(model.SerializeToString())
    signed(copy)
    assert f"what a {wanted} is told does not follow" in refused(copy)
