"""A tar written again: samples go, labels change, and all other bytes are as they were."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fixtures.repository import GOLDEN
from fixtures.tars import members
from slideprep.errors import InputError
from slideprep.shards.tar_copy import check_bytes, copy_tar, described

TRAIN = GOLDEN / "10x" / "train-000000.tar"


@pytest.mark.parametrize(
    "path", sorted(GOLDEN.rglob("*.tar")), ids=lambda path: f"{path.parent.name}-{path.stem}"
)
def test_a_copy_without_edits_has_the_same_bytes(path: Path, tmp_path: Path) -> None:
    """Every tar of the golden set is copied to the bit."""
    copy_tar(path, tmp_path / "copy", drop=(), labels={})
    assert (tmp_path / "copy").read_bytes() == path.read_bytes()


def test_a_dropped_sample_takes_all_its_members_along(tmp_path: Path) -> None:
    """Without the first sample the three members of the second are left, in order."""
    first, second = dict.fromkeys(name.split(".")[0] for name in members(TRAIN))
    copy_tar(TRAIN, tmp_path / "copy", drop={first}, labels={})
    assert list(members(tmp_path / "copy")) == [
        f"{second}.{extension}" for extension in ("cls", "jpg", "json")
    ]


def test_a_tar_without_samples_is_its_end_mark(tmp_path: Path) -> None:
    """A shard all of whose samples go is zeros alone."""
    copy_tar(TRAIN, tmp_path / "copy", drop={name.split(".")[0] for name in members(TRAIN)}, labels={})
    assert set((tmp_path / "copy").read_bytes()) == {0}


def test_a_label_changes_class_and_record_alone(tmp_path: Path) -> None:
    """.cls is the new number, the record the same but for its label, the image untouched; the other sample too."""
    first, second = dict.fromkeys(name.split(".")[0] for name in members(TRAIN))
    copy = tmp_path / "copy"
    copy_tar(TRAIN, copy, drop=(), labels={first: ("stroma", 1)})
    assert members(copy)[f"{first}.cls"] == b"1"
    old, new = (json.loads(members(path)[f"{first}.json"]) for path in (TRAIN, copy))
    assert new == {**old, "label": "stroma"}
    assert members(copy)[f"{first}.jpg"] == members(TRAIN)[f"{first}.jpg"]
    for extension in ("cls", "jpg", "json"):
        assert members(copy)[f"{second}.{extension}"] == members(TRAIN)[f"{second}.{extension}"]
    copy_tar(copy, tmp_path / "back", drop=(), labels={first: ("gland", 0)})
    assert (tmp_path / "back").read_bytes() == TRAIN.read_bytes()


def test_a_damaged_tar_is_refused(tmp_path: Path) -> None:
    """One byte more, one byte other, or no file at all: none is what the index says."""
    stated = described(TRAIN, "10x/train-000000.tar")
    check_bytes(TRAIN, stated)
    data = TRAIN.read_bytes()
    for damaged in (data + bytes(1), bytes([data[0] ^ 1]) + data[1:]):
        (tmp_path / "tar").write_bytes(damaged)
        with pytest.raises(InputError, match="other bytes than the index says"):
            check_bytes(tmp_path / "tar", stated)
    with pytest.raises(InputError, match="cannot be read: No such file"):
        check_bytes(tmp_path / "none", stated)
