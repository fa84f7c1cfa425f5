"""An ONNX file of anyone in, what decides its outputs out: found whole, in its own folder, by its digest.

A graph may keep its numbers in files beside it (external data, https://onnx.ai/onnx/repo-docs/ExternalData.html). Such
a file must lie in the graph's folder: a graph out of the net must not have other files read. No library of custom
operators is ever loaded: a graph that needs one cannot be opened.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from kdtrain.errors import UsageError
from kdtrain.files import sha256_of
from kdtrain.text import brief, reason_of

_TENSOR, _GRAPH, _TENSORS, _GRAPHS, _SPARSE, _SPARSES = 4, 5, 9, 10, 11, 12
"""Types of attributes that hold tensors (onnx.proto)."""


def content_of(path: Path) -> str:
    """SHA-256 of a graph with the files that its numbers are in.

    Of a graph that is one file, it is that file's; of another, that of a line a file: digest and name, sorted by name,
    the graph first.

    Args:
        path: The graph.

    Raises:
        UsageError: It is none, or its numbers lie elsewhere or nowhere.
    """
    names = sorted(set(_locations(_parsed(path), path)))
    digest = sha256_of(path)
    if not names:
        return digest
    lines = [f"{digest}\n", *(f"{sha256_of(_beside(path, name))}  {name}\n" for name in names)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _parsed(path: Path) -> Any:
    import onnx

    if not path.is_file():
        raise UsageError(f"--from {path}: there is no such file; give the ONNX file of a network")
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:  # noqa: BLE001 - protobuf's own, of which neither it nor onnx has types to name
        raise UsageError(
            f"--from {path} is no ONNX file ({reason_of(error)}); export the network again, or copy the file again"
        ) from None
    if not model.graph.node:
        raise UsageError(f"--from {path} is no ONNX file that computes anything; export the network again")
    return model


def _locations(model: Any, path: Path) -> Iterator[str]:
    """Names of the files that hold numbers of a graph, as the graph writes them."""
    for tensor in _tensors(model):
        if not (tensor.external_data or tensor.data_location):
            continue
        name = next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
        if not name:
            raise UsageError(
                f"--from {path}: the numbers of {brief(tensor.name)} are in a file without a name; export it again"
            )
        _beside(path, name)
        yield name


def _beside(path: Path, name: str) -> Path:
    """A file of a graph's numbers, which may be read: in the graph's folder, or where a hub keeps it.

    Hubs keep each file once, under its digest, and link to it: ``snapshots/<revision>/<name>`` leads to
    ``blobs/<digest>`` of the same repository.
    """
    home = path.parent.resolve()
    try:
        file = (path.parent / name).resolve()
    except (OSError, RuntimeError, ValueError):  # links in a circle, a name with a zero byte
        file = Path("/")
    repository = home.parent.parent if home.parent.name == "snapshots" else None
    places = [home] if repository is None else [home, repository / "blobs"]
    given = Path(name)
    if given.is_absolute() or ".." in given.parts or not any(file.is_relative_to(place) for place in places):
        raise UsageError(
            f"--from {path} wants its numbers out of {brief(name)}, which is not in its folder, and nothing else is "
            "read for it; put the file beside it and export the network with a plain name for it"
        )
    if not file.is_file():
        raise UsageError(
            f"--from {path}: its numbers are in {brief(name)}, which is not beside it; copy that too"
        )
    return file


def _tensors(model: Any) -> Iterator[Any]:
    """All tensors that a model holds, those of graphs within it too."""
    yield from _of_graph(model.graph)
    for function in model.functions:
        yield from _of_nodes(function.node)


def _of_graph(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    yield from _of_sparse(graph.sparse_initializer)
    yield from _of_nodes(graph.node)


def _of_sparse(tensors: Iterable[Any]) -> Iterator[Any]:
    for sparse in tensors:
        yield from (sparse.values, sparse.indices)


def _of_nodes(nodes: Iterable[Any]) -> Iterator[Any]:
    for attribute in (attribute for node in nodes for attribute in node.attribute):
        if attribute.type == _TENSOR:
            yield attribute.t
        elif attribute.type == _TENSORS:
            yield from attribute.tensors
        elif attribute.type in (_SPARSE, _SPARSES):
            yield from _of_sparse(
                [attribute.sparse_tensor] if attribute.type == _SPARSE else attribute.sparse_tensors
            )
        elif attribute.type == _GRAPH:
            yield from _of_graph(attribute.g)
        elif attribute.type == _GRAPHS:
            for graph in attribute.graphs:
                yield from _of_graph(graph)
