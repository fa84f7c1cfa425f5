"""bundle.json: read back as written, and refused by name where it cannot be understood."""

from __future__ import annotations

import json

import pytest

from kdtrain.bundle.document import read_document
from kdtrain.errors import UsageError


@pytest.fixture(scope="module")
def raw(bundle) -> dict:
    """The content of a bundle.json."""
    return json.loads((bundle / "bundle.json").read_text())


def refused(raw) -> str:
    """The message that a document is refused with."""
    with pytest.raises(UsageError) as error:
        read_document(json.dumps(raw).encode(), "DIR/bundle.json")
    return str(error.value)


def test_it_is_read_back_to_the_last_byte(bundle):
    """Bytes to a document to bytes."""
    data = (bundle / "bundle.json").read_bytes()
    assert read_document(data, "here").to_bytes() == data


def test_a_newer_minor_version_may_say_more(raw):
    """Fields that are not known are ignored, at any depth."""
    stain = {**raw["training_data"]["stain"], "hue_infrared": {"mean": 1}}
    newer = {
        **raw,
        "version": [1, 7],
        "mood": "good",
        "input": {**raw["input"], "weather": 1},
        "training_data": {**raw["training_data"], "stain": stain},
    }
    read = read_document(json.dumps(newer).encode(), "here")
    assert read.training_data == read_document(json.dumps(raw).encode(), "here").training_data


@pytest.mark.parametrize("version", [[2, 0], [0, 9], "1", None])
def test_another_major_version_is_refused_by_name(raw, version):
    """With what is known and what to do."""
    said = refused({**raw, "version": version})
    assert f"version {version!r}" in said
    assert "1.x" in said


@pytest.mark.parametrize("content", [[], {}, {"format": "slideprep-shards", "version": [1, 0]}])
def test_other_documents_are_no_bundle(content):
    """Whatever else is JSON."""
    assert "'kdtrain-bundle'" in refused(content)


def test_what_is_damaged_is_named(raw):
    """The field, and where the file is."""
    said = refused({**raw, "classes": ["one"]})
    assert "DIR/bundle.json" in said
    assert "classes" in said
    assert "a class is named twice" in refused({**raw, "classes": ["one", "one"]})


def test_half_a_file_is_not_json(raw):
    """As after a copy that was cut off."""
    with pytest.raises(UsageError, match="not JSON"):
        read_document(json.dumps(raw).encode()[:100], "DIR/bundle.json")
