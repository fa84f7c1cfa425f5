"""ONNX files of anyone: whole, in their own folder, told apart by content: kdtrain/sources/onnx_file.py."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from fixtures.networks import write_beside, write_colours, write_graph
from kdtrain.errors import UsageError
from kdtrain.sources.onnx_file import content_of


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_graph_of_one_file_is_known_by_that_files_digest(tmp_path: Path) -> None:
    """As ``sha256sum`` says it, whatever the file is called."""
    path = write_colours(tmp_path / "colours.onnx")
    assert content_of(path) == digest(path)


def test_numbers_beside_a_graph_belong_to_its_content(tmp_path: Path) -> None:
    """The digest is that of both digests; other numbers of the same graph are another network."""
    path = write_beside(tmp_path / "beside.onnx", location="numbers.bin", data=tmp_path / "numbers.bin")
    lines = f"{digest(path)}\n{digest(tmp_path / 'numbers.bin')}  numbers.bin\n"
    before = content_of(path)
    assert before == hashlib.sha256(lines.encode()).hexdigest()
    (tmp_path / "numbers.bin").write_bytes(bytes(12))
    assert content_of(path) != before


@pytest.mark.parametrize("location", ["../numbers.bin", "sub/../../numbers.bin", "/etc/passwd", "link.bin"])
def test_numbers_elsewhere_are_not_read(tmp_path: Path, location: str) -> None:
    """Above the folder, by an absolute path, or through a link that leads out of it."""
    home = tmp_path / "home"
    (home / "sub").mkdir(parents=True)
    (tmp_path / "numbers.bin").write_bytes(bytes(12))
    (home / "link.bin").symlink_to(tmp_path / "numbers.bin")
    path = write_beside(home / "beside.onnx", location=location)
    with pytest.raises(UsageError, match=r"wants its numbers out of .* which is not in its folder"):
        content_of(path)


def test_a_hub_keeps_numbers_among_its_blobs(tmp_path: Path) -> None:
    """A snapshot's links into the blobs of the same repository are followed, as hubs lay out their caches."""
    snapshot, blobs = tmp_path / "snapshots" / "abc", tmp_path / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    path = write_beside(snapshot / "beside.onnx", location="numbers.bin", data=blobs / "1234")
    (snapshot / "numbers.bin").symlink_to("../../blobs/1234")
    assert len(content_of(path)) == 64


def test_missing_numbers_are_said(tmp_path: Path) -> None:
    """A graph that was copied without the file beside it, and one that names none."""
    with pytest.raises(
        UsageError, match=r"its numbers are in 'numbers\.bin', which is not beside it; copy that too"
    ):
        content_of(write_beside(tmp_path / "beside.onnx", location="numbers.bin"))
    with pytest.raises(UsageError, match=r"the numbers of 'bias' are in a file without a name"):
        content_of(write_beside(tmp_path / "beside.onnx", location=""))


def test_numbers_of_graphs_within_graphs_are_found(tmp_path: Path) -> None:
    """A branch of an If, and a constant of a node, may name files as well."""
    tensor = TensorProto(name="hidden", data_type=TensorProto.FLOAT, dims=[1])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../hidden.bin")
    value = helper.make_tensor_value_info("out", TensorProto.FLOAT, [1])
    branch = helper.make_graph(
        [helper.make_node("Constant", [], ["out"], value=tensor)], "branch", [], [value]
    )
    graph = helper.make_graph(
        [helper.make_node("If", ["yes"], ["answer"], then_branch=branch, else_branch=branch)],
        "nested",
        [],
        [helper.make_tensor_value_info("answer", TensorProto.FLOAT, [1])],
        [numpy_helper.from_array(np.array(True), "yes")],
    )
    with pytest.raises(UsageError, match=r"wants its numbers out of '\.\./hidden\.bin'"):
        content_of(write_graph(tmp_path / "nested.onnx", graph))


@pytest.mark.parametrize(
    "data", [b"", b"no graph", bytes(1000), b"version https://git-lfs.github.com/spec/v1\n"]
)
def test_what_is_no_graph_is_said(tmp_path: Path, data: bytes) -> None:
    """An empty file, a text, zeros, the pointer that Git LFS leaves."""
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    with pytest.raises(UsageError, match=r"--from .*model\.onnx is no ONNX file"):
        content_of(path)


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    """By its name."""
    with pytest.raises(UsageError, match=r"absent\.onnx: there is no such file"):
        content_of(tmp_path / "absent.onnx")
