"""Each rule of SHARD_FORMAT.md: verify names it, and the reader refuses it where the document says that it does."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from fixtures.repository import SHARDS
from fixtures.shard_reader import read_shard
from kdtrain.shards.index import ShardError, read_index
from kdtrain.shards.sample import Sample
from slideprep.shards.verify.verify import verify

Stored = Callable[[dict[str, bytes]], Path]
INVALID = sorted(path.name for path in (SHARDS / "invalid").iterdir())
RULES = dict(
    re.findall(
        r"^\| (F\d\d [a-z-]+) \|.*\| (open|touch|) ?\|$", (SHARDS / "SHARD_FORMAT.md").read_text(), re.M
    )
)


def _rule(folder: str) -> str:
    return next(rule for rule in RULES if folder.startswith(rule.replace(" ", "-")))


def _read_all(folder: Path) -> list[Sample]:
    index = read_index(folder)
    return [
        sample
        for magnification in index.document.magnifications
        for shard in index.document.shards
        for sample in read_shard(index, shard, magnification=magnification)
    ]


def test_every_rule_has_an_invalid_set() -> None:
    """The document lists 29 rules, and every one of them has at least one folder that breaks it."""
    assert len(RULES) == 29
    assert {_rule(folder) for folder in INVALID} == set(RULES)


@pytest.mark.parametrize("folder", ["golden", "golden-1.1"])
def test_golden_set_is_clean(folder: str) -> None:
    """Verify finds no fault in the golden sets, decodes all 24 images, and leaves nothing unchecked."""
    report = verify(SHARDS / folder)
    assert report.ok
    assert report.unchecked == ()
    assert report.counts["images_decoded"] == 24


@pytest.mark.parametrize("builder", ["minimal", "two", "pair", "unlabelled"])
def test_base_sets_are_clean(builder: str, sets: ModuleType, stored: Stored) -> None:
    """What the invalid sets start from is valid, so that each has just the one fault."""
    folder = stored(getattr(sets, builder)())
    assert verify(folder).faults == ()
    assert _read_all(folder)


@pytest.mark.parametrize("folder", INVALID)
def test_verify_names_the_rule(folder: str) -> None:
    """Verify blames exactly the rule that the folder is named after."""
    report = verify(SHARDS / "invalid" / folder)
    assert {fault.rule for fault in report.faults} == {_rule(folder)}


@pytest.mark.parametrize("folder", INVALID)
def test_reader_refuses(folder: str) -> None:
    """The reader refuses, by name, what the document says is checked on opening or on touch."""
    rule = _rule(folder)
    path = SHARDS / "invalid" / folder
    if not RULES[rule]:
        assert _read_all(path)
        return
    with pytest.raises(ShardError) as caught:
        _read_all(path)
    assert caught.value.rule == rule
    if RULES[rule] == "open":
        with pytest.raises(ShardError):
            read_index(path)


def test_reader_reads_the_golden_set(golden: Path) -> None:
    """All 24 images arrive as (rows, columns, 3) uint8 in the size of the index, labelled where the split is."""
    index = read_index(golden)
    samples = _read_all(golden)
    assert len(samples) == 24
    assert {sample.label for sample in samples if sample.record.split.startswith("aux")} == {None}
    first = next(read_shard(index, index.shards_of("train")[0], magnification=10))
    assert first.image is not None
    assert first.image.shape == (160, 128, 3)
    assert first.image.dtype == np.uint8
    assert index.document.classes[first.label or 0] == first.record.label == "gland"


@pytest.mark.parametrize("folder", ["golden", "golden-1.1"])
def test_statistics_follow_from_the_pixels(folder: str, sets: ModuleType) -> None:
    """Mean and deviation at 5x are NumPy's over train's first shard: its pictures, in 1.1 its images as they decode."""
    index = read_index(SHARDS / folder)
    told = json.loads((SHARDS / folder / "index.json").read_bytes())
    assert (told["statistics_shards"], told.get("statistics_of")) == (
        [0],
        None if folder == "golden-1.1" else "unencoded",
    )
    images = [
        sample.image.reshape(-1, 3)
        for shard in index.shards_of("train")[:1]
        for sample in read_shard(index, shard, magnification=5)
        if sample.image is not None
    ]
    if folder == "golden":
        golden_set = importlib.import_module("golden_set")
        case = {"slide": "case 1.2.svs", "patient": "P1", "label": "gland"}
        cases = [golden_set.Case(**case, cells=(32, 40)), golden_set.Case(**case, cells=(48, 32), region=1)]
        images = [golden_set.picture_of(case, 2).reshape(-1, 3) for case in cases]
    pixels = np.concatenate(images).astype(float)
    statistics = index.statistics_of(5)
    assert statistics.pixels == len(pixels) == 64 * 80 + 96 * 64
    np.testing.assert_allclose(pixels.mean(axis=0), statistics.mean, rtol=1e-12)
    np.testing.assert_allclose(pixels.std(axis=0), statistics.std, rtol=1e-9)


@pytest.mark.parametrize(("statistics_of", "rules"), [("unencoded", []), ("decoded", ["F29 statistics"])])
def test_statistics_before_encoding_may_differ_from_the_images(
    statistics_of: str, rules: list[str], sets: ModuleType, stored: Stored
) -> None:
    """A mean half a grey level off the decoded images is what encoding can do, and no decoder."""
    report = verify(stored(sets.minimal(statistics_of=statistics_of, edit_index=sets.brighter)))
    assert [fault.rule for fault in report.faults] == rules


@pytest.mark.parametrize("counted", [[0, 0], [1], []])
def test_statistics_count_shards_of_train(counted: list[int], sets: ModuleType, stored: Stored) -> None:
    """Statistics cannot name a shard twice, one that is not there, or none at all."""
    report = verify(stored(sets.minimal(edit_index=sets.set_in("statistics_shards", counted))))
    assert [fault.rule for fault in report.faults] == ["F29 statistics"]


def test_two_faults_are_both_named(sets: ModuleType, stored: Stored) -> None:
    """A set with a wrong label and a wrong statistic is blamed for both."""
    files = sets.minimal(
        edit_members=sets.change(".cls", lambda data: b"1"),
        edit_index=sets.set_in("statistics.5x.mean", [1, 2, 3]),
    )
    report = verify(stored(files))
    assert [fault.rule for fault in report.faults] == ["F20 label", "F29 statistics"]
