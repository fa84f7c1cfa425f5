"""The golden caches of version 2.0, written from the format's document by a script that knows nothing of kdtrain."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest
import torch
from jsonschema import Draft202012Validator

from fixtures.repository import GOLDEN, GOLDEN_CACHES, SHARDS
from kdtrain.data.stream import EvaluationStream
from kdtrain.data.teacher_cache.document import SourceDocument, to_json
from kdtrain.data.teacher_cache.opening import open_cache
from kdtrain.data.teacher_cache.reader import CacheReader
from kdtrain.data.teacher_cache.record import SampleEntry
from kdtrain.data.teacher_cache.tar import writing
from kdtrain.data.teacher_cache.view import encode_view
from kdtrain.shards.index import read_index

NAMES = ("features", "onnx")


def tensors_of(name: str) -> dict[tuple[str, int], tuple]:
    """By split and view of its one sample: draw and view, as the reader gives them."""
    index = read_index(GOLDEN)
    reader = CacheReader(open_cache(GOLDEN_CACHES / name), index)
    found = {}
    for split, views in (("aux1", 2), ("aux2_added", 2), ("val", 1)):
        (sample,) = EvaluationStream(index, split, [2.5])
        for view in range(views):
            taught = reader.load(index.shards_of(split)[0], 0, view, key=sample.key)
            found[split, view] = (taught.draw, taught.view)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_the_schema_accepts_the_golden_caches(name: str) -> None:
    """cache.json and every record."""
    schema = json.loads((SHARDS / "teacher-cache.schema.json").read_text())
    Draft202012Validator(schema).validate(json.loads((GOLDEN_CACHES / name / "cache.json").read_text()))
    record = Draft202012Validator({"$ref": "#/$defs/sample", "$defs": schema["$defs"]})
    for path in (GOLDEN_CACHES / name).glob("*.tar"):
        with tarfile.open(path) as tar:
            for member in tar:
                if member.name.endswith(".json"):
                    record.validate(json.load(tar.extractfile(member)))


@pytest.mark.parametrize("name", NAMES)
def test_values_are_those_of_the_document(name: str) -> None:
    """Three channels on 2 x 3 cells of the 40 x 32 px image, the last column masked; mirrored, turned, it has 3 x 2."""
    views = tensors_of(name)
    draw, view = views["aux2_added", 0]
    assert (draw.horizontal_flip, draw.quarter_turns, draw.brightness) == (False, 0, 1)
    expected = torch.tensor([[0, 1 / 16, 0], [1 / 4, 5 / 16, 0]])
    counts = torch.tensor([[True, True, False]] * 2)
    channels = torch.stack([expected + c * counts for c in range(3)])
    assert torch.equal(view.maps["laid"].float(), channels)
    assert torch.equal(view.valid_HW, counts)
    draw, turned = views["aux2_added", 1]
    assert (draw.horizontal_flip, draw.quarter_turns, draw.brightness) == (True, 1, 1.25)
    assert torch.equal(turned.maps["laid"].float(), torch.rot90(channels.flip(-1), 1, (1, 2)))
    assert turned.valid_HW.tolist() == [[True, True], [True, True], [False, False]]
    assert views["aux1", 0][1].maps["laid"].shape == (3, 2, 2)
    assert views["val", 0][1].maps["laid"].shape == (3, 3, 2)  # 33 px are three rows
    for _, one in views.values():
        assert (one.logits_K is None) if name == "features" else one.logits_K.tolist() == [0, 1]


@pytest.mark.parametrize("name", NAMES)
def test_the_writer_gives_the_golden_bytes(name: str, tmp_path: Path) -> None:
    """Every tar and cache.json, read by kdtrain and written by it again, are the same to the last byte."""
    cache = open_cache(GOLDEN_CACHES / name)
    assert isinstance(cache.document, SourceDocument)
    assert (
        to_json(cache.document.model_dump(mode="json")) == (GOLDEN_CACHES / name / "cache.json").read_bytes()
    )
    views = tensors_of(name)
    for entry in cache.document.shards:
        with tarfile.open(GOLDEN_CACHES / name / entry.path) as tar:
            member = tar.getmembers()[0]
            record = SampleEntry.model_validate_json(tar.extractfile(member).read())
        own = [encode_view(view, "x") for (split, _), (_, view) in views.items() if split == entry.split]
        with writing(tmp_path / entry.path) as tar:
            tar.add(record.key, to_json(record.model_dump(mode="json")), own)
            tar.finish()
        assert (tmp_path / entry.path).read_bytes() == (GOLDEN_CACHES / name / entry.path).read_bytes()
