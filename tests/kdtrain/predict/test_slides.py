"""Which slides are read: under names that every table can hold, no two alike."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import slideprep
from kdtrain.errors import UsageError
from kdtrain.predict.answers.request import ReadOptions
from kdtrain.predict.slides import discovered, read_settings
from slideprep import ReadSettings, RejectedFile, SlideFile


def slide(name: bytes) -> SlideFile:
    """A slide as slideprep finds it: bytes that are no UTF-8 are spelled out in its name, and stay in its path."""
    path = Path(os.fsdecode(b"/slides/" + name))
    return SlideFile(name=name.decode(errors="backslashreplace"), path=path, files=(path,))


def test_of_two_names_that_are_spelled_alike_one_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The path keeps its bytes; a file that is called like the spelling of another's bytes is not taken for it."""
    found = [slide(b"a.svs"), slide(b"caf\xe9.svs"), slide(rb"caf\xe9.svs")]
    rejected = [RejectedFile(path=Path(os.fsdecode(b"b\xff.svs")), reason="empty")]
    monkeypatch.setattr(slideprep, "find_slides", lambda inputs: (found, rejected))
    slides, failures = discovered(["slides"])
    assert [(one.name, os.fsencode(one.path)) for one in slides] == [
        ("a.svs", b"/slides/a.svs"),
        (r"caf\xe9.svs", b"/slides/caf\xe9.svs"),
    ]
    assert [(one.slide, one.stage) for one in failures] == [(r"b\xff.svs", "open"), (r"caf\xe9.svs", "open")]
    assert "rename one of the files" in failures[1].reason


@pytest.mark.parametrize(("name", "value"), [("tissueloc_level_px", 10**6), ("tissueloc_sigma", 1e3)])
def test_a_bundle_cannot_ask_for_any_amount_of_memory(name: str, value: float) -> None:
    """An overview is held in memory, and smoothing it takes time with its width."""
    config = {**ReadSettings(tissue="tissueloc").model_dump(), name: value}
    with pytest.raises(UsageError, match="takes more memory and time"):
        read_settings(config, ReadOptions())


def test_settings_of_no_shard_set_are_refused() -> None:
    """What a bundle says of slides is read as strictly as what a person says."""
    config = ReadSettings().model_dump()
    for name, value in (("magnifications", [1e9]), ("tissue", "all"), ("quality", 0), ("mpp", -1)):
        with pytest.raises(UsageError, match=name):
            read_settings({**config, name: value}, ReadOptions())
    with pytest.raises(UsageError, match="config lacks"):
        read_settings({}, ReadOptions())
