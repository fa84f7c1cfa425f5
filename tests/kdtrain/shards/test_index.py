"""How the reader opens a set and what it says, beyond the rules that tests/contract holds it to."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from fixtures.repository import GOLDEN
from fixtures.shard_reader import read_shard
from kdtrain.shards.index import ShardError, read_index
from kdtrain.shards.tar import iter_places, read_place


def _edit_index(folder: Path, **changes: Any) -> Path:
    shutil.copytree(GOLDEN, folder)
    index = json.loads((folder / "index.json").read_text()) | changes
    (folder / "index.json").write_text(json.dumps(index))
    return folder


def test_unfinished_set_says_how_to_finish_it(tmp_path: Path) -> None:
    """A build that was begun and has no index is refused with the command that completes it."""
    (tmp_path / ".slideprep").mkdir()
    with pytest.raises(
        ShardError, match=r"written last.*run the same 'slideprep build-shards' command again"
    ):
        read_index(tmp_path)


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("slide.svs", "this is no shard set"),
        ("run.json", "this is the folder of a run, no shard set"),
        ("sweep.json", "this is the folder of a sweep"),
        ("cache.json", "this is a teacher cache"),
        ("bundle.json", "this is a bundle"),
        ("predict.json", "this is a folder of predictions"),
        ("mine/index.json", r"no index.json here, but in mine, which lies in it .*give .*/mine"),
    ],
)
def test_a_wrong_folder_is_called_what_it_is(tmp_path: Path, file: str, words: str) -> None:
    """What was never begun is not to be finished: the message says what lies there and what to give instead."""
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text("{}")
    with pytest.raises(ShardError, match=words) as caught:
        read_index(tmp_path)
    assert "build-shards' command again" not in str(caught.value)


def test_absent_magnification_names_those_there() -> None:
    """Asking for 3x names 10x, 5x and 2.5x."""
    with pytest.raises(ShardError, match=r"no 3x here; there is 10x, 5x, 2\.5x") as caught:
        read_index(GOLDEN).require(magnification=3)
    assert caught.value.rule == "request"


def test_absent_split_names_those_there() -> None:
    """Asking for a split that is not there names the splits and sets."""
    with pytest.raises(
        ShardError, match="no split or set 'aux3' here; there is aux1, aux2, aux2_added, test"
    ):
        read_index(GOLDEN).require(split="aux3")


def test_sets_are_read_as_their_splits() -> None:
    """The set aux2 has the shards of aux1 and of what was added, and no labels; train has two shards and labels."""
    index = read_index(GOLDEN)
    assert [(s.split, s.number) for s in index.shards_of("aux2")] == [("aux1", 0), ("aux2_added", 0)]
    assert not index.is_labelled("aux2")
    assert [s.number for s in index.shards_of("train")] == [0, 1]
    assert index.is_labelled("train")


def test_sizes_are_known_without_opening_a_tar(tmp_path: Path) -> None:
    """Cells of 32 × 40 and 48 × 32 are 128 × 160 and 192 × 128 px at 10x, and a quarter of it at 2.5x."""
    index = read_index(GOLDEN)
    shard = index.shards_of("train")[0]
    assert index.sizes_of(shard, 10) == ((128, 160), (192, 128))
    assert index.sizes_of(shard, 2.5) == ((32, 40), (48, 32))


def test_newer_minor_version_is_read(tmp_path: Path) -> None:
    """Version 1.7 with a field that this reader does not know is read as if that were not there."""
    index = read_index(_edit_index(tmp_path / "set", version=[1, 7], something_new={"a": 1}))
    shard = index.shards_of("val")[0]
    assert len(list(read_shard(index, shard, magnification=5))) == 1


def test_other_major_version_is_refused_by_name(tmp_path: Path) -> None:
    """Version 3.0 is refused, saying which versions are known."""
    with pytest.raises(ShardError, match=r"format version \[3, 0\] cannot be read; this reader knows 1\.x"):
        read_index(_edit_index(tmp_path / "set", version=[3, 0]))


def test_statistics_are_refused_where_there_are_none(tmp_path: Path) -> None:
    """A set without a labelled training split has no statistics, and says where to take them from."""
    index = read_index(_edit_index(tmp_path / "set", statistics=None))
    with pytest.raises(ShardError, match="take the statistics of the run that trained the teacher"):
        index.statistics_of(10)


def test_large_images_are_no_decompression_bombs(monkeypatch: pytest.MonkeyPatch) -> None:
    """An image over Pillow's limit is read where the index states its size, and the limit is left as it was."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    index = read_index(GOLDEN)
    samples = list(read_shard(index, index.shards_of("test")[0], magnification=10))
    assert [s.image.shape for s in samples if s.image is not None] == [(128, 136, 3), (128, 128, 3)]
    assert Image.MAX_IMAGE_PIXELS == 100


def test_members_come_as_stored() -> None:
    """A raw sample has its members as bytes, by extension, in the order of the tar."""
    path = GOLDEN / "5x" / "val-000000.tar"
    with path.open("rb") as tar:
        (sample,) = [read_place(tar, path, place) for place in iter_places(tar, path)]
    assert list(sample.fields) == ["cls", "jpg", "json"]
    assert sample.fields["cls"] == b"0"
    assert sample.key.startswith("case3-")


def test_an_empty_shard_has_no_samples(tmp_path: Path) -> None:
    """A tar that is only its end mark is a shard without samples, not a damaged one."""
    path = tmp_path / "empty.tar"
    path.write_bytes(bytes(10240))
    with path.open("rb") as tar:
        assert list(iter_places(tar, path)) == []


def test_errors_survive_a_copy() -> None:
    """A loader's worker sends the error to its parent whole: rule, member and message."""
    error = ShardError("F13 member-name", "x.tar", "a reason", member="a.b.jpg")
    twin = copy.copy(error)
    assert (twin.rule, twin.member, str(twin)) == (error.rule, error.member, str(error))
    assert str(error) == (
        "x.tar, 'a.b.jpg': a reason (rule F13 member-name); run 'slideprep verify' on the folder; it lists every fault"
    )
