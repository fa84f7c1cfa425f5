"""A sample read by its place is the one that was stored, and damage is named at the first touch."""

from __future__ import annotations

import copy
import importlib
import io
import os
import sys
import tarfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from fixtures.repository import SHARDS
from fixtures.shard_reader import read_shard
from fixtures.shard_sets import write_files, write_set
from kdtrain.data.plan import SampleRef
from kdtrain.data.samples import SampleReader
from kdtrain.shards.error import ShardError
from kdtrain.shards.index import read_index

GOLDEN = SHARDS / "golden"
sys.path.insert(0, str(SHARDS))
INVALID: ModuleType = importlib.import_module("invalid_sets")
sys.path.remove(str(SHARDS))

TOUCHED = ["F11", "F12", "F13", "F14", "F15", "F16", "F17", "F18", "F19", "F20", "F21", "F22", "F23"]
BROKEN = {name: files for name, files in INVALID.invalid().items() if name[:3] in TOUCHED}


def test_samples_are_those_that_were_stored() -> None:
    """Every sample of the golden set, read last to first, has the pixels that Pillow decodes, and its label."""
    index = read_index(GOLDEN)
    reader = SampleReader(index, "train", [10, 2.5])
    for shard_number, shard in reversed(list(enumerate(index.shards_of("train")))):
        wanted = list(read_shard(index, shard, magnification=10))
        for position in reversed(range(shard.samples)):
            sample = reader.load(SampleRef(shard_number, position))
            assert (sample.key, sample.label) == (wanted[position].key, wanted[position].label)
            assert sample.shard == f"train-{shard_number:06d}"
            assert (sample.slide, sample.patient) == (sample.record.slide, sample.record.patient)
            for magnification in (10, 2.5):
                pixels = sample.images[magnification].permute(1, 2, 0).numpy()
                assert np.array_equal(pixels, _pillow(index.path_of(shard, magnification), sample.key))


def _pillow(path: Path, key: str) -> np.ndarray:
    with tarfile.open(path) as tar:
        file = tar.extractfile(f"{key}.jpg")
        assert file is not None
        return np.asarray(Image.open(io.BytesIO(file.read())))


def test_magnifications_show_the_same_field() -> None:
    """A sample of 32 × 40 cells is 128 × 160 px at 10x and 32 × 40 at 2.5x: 21 760 pixels together."""
    sample = SampleReader(read_index(GOLDEN), "train", [10, 2.5]).load(SampleRef(0, 0))
    assert sample.sizes == {10: (128, 160), 2.5: (32, 40)}
    assert sample.images[10].shape == (3, 160, 128)
    assert sample.pixels == 128 * 160 + 32 * 40
    assert sample.record.magnification == 10


def test_unlabelled_samples_have_no_label() -> None:
    """In the auxiliary set, a union of two splits, the second shard is the second split's, and labels are None."""
    sample = SampleReader(read_index(GOLDEN), "aux2", [5]).load(SampleRef(1, 0))
    assert (sample.shard, sample.label) == ("aux2_added-000000", None)


@pytest.mark.parametrize("name", BROKEN)
def test_every_fault_is_named(name: str, tmp_path: Path) -> None:
    """Each invalid set that opens is refused with the rule that it breaks, whichever sample is asked for first."""
    write_files(tmp_path / "set", BROKEN[name])
    index = read_index(tmp_path / "set")
    reader = SampleReader(index, "train", index.document.magnifications)
    places = [SampleRef(0, position) for position in reversed(range(reader.shards[0].samples))]
    with pytest.raises(ShardError) as caught:
        list(map(reader.load, places))
    assert caught.value.rule[:3] == name[:3]


def test_broken_sets_were_found() -> None:
    """The invalid sets cover every rule that is checked at the touch."""
    assert sorted({name[:3] for name in BROKEN}) == TOUCHED


def test_damage_elsewhere_does_not_matter(tmp_path: Path) -> None:
    """Where the first sample's image is cut short, the second is read, and the first is refused by name."""
    files = INVALID.two(edit_members=INVALID.change(".jpg", lambda data: data[: len(data) - 80]))
    write_files(tmp_path / "set", files)
    reader = SampleReader(read_index(tmp_path / "set"), "train", [5])
    assert reader.load(SampleRef(0, 1)).slide == "b.svs"
    with pytest.raises(ShardError, match=r"'a-[0-9a-f]{8}-r0000': the image cannot be decoded.*F22"):
        reader.load(SampleRef(0, 0))


def test_tar_cut_off_during_the_run(tmp_path: Path) -> None:
    """A tar that loses its end after it was opened is refused as cut off, naming the sample."""
    reader = SampleReader(read_index(write_set(tmp_path / "set", {"train": [2]})), "train", [10])
    reader.load(SampleRef(0, 0))
    os.truncate(tmp_path / "set/10x/train-000000.tar", 2000)
    with pytest.raises(ShardError, match=r"train-1.*the file ends inside \.(cls|jpg|json).*F11"):
        reader.load(SampleRef(0, 1))


def test_tar_that_has_gone(tmp_path: Path) -> None:
    """A tar that was deleted after the index was opened is named, with what to check, and no trace of errno."""
    reader = SampleReader(read_index(write_set(tmp_path / "set", {"train": [1]})), "train", [10])
    (tmp_path / "set/10x/train-000000.tar").unlink()
    with pytest.raises(ShardError, match=r"cannot be read: No such file or directory .*check that the disk"):
        reader.load(SampleRef(0, 0))


def _open_files() -> int:
    return sum(Path(f"/dev/fd/{link.name}").exists() for link in Path("/dev/fd").iterdir())


def test_open_tars_are_limited(tmp_path: Path) -> None:
    """Reading back and forth over six tars with two open at a time gives every sample, and never a third file."""
    index = read_index(write_set(tmp_path / "set", {"train": [1, 1, 1]}))
    reader = SampleReader(index, "train", [10, 2.5], max_open_tars=2)
    before = _open_files()
    keys = []
    for shard in (0, 1, 2, 0, 1, 2):
        keys.append(reader.load(SampleRef(shard, 0)).key)
        assert _open_files() == before + 2
    assert len(set(keys)) == 3
    assert keys[:3] == keys[3:]
    reader.close()
    assert _open_files() == before


def test_tar_in_use_stays_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With two tars open at a time, shards 0, 1, 0, 2, 0 open three files: the longest unused one is closed."""
    index = read_index(write_set(tmp_path / "set", {"train": [1, 1, 1]}))
    reader = SampleReader(index, "train", [10], max_open_tars=2)
    opened: list[str] = []
    plain_open = Path.open
    monkeypatch.setattr(Path, "open", lambda path, mode: opened.append(path.stem) or plain_open(path, mode))
    for shard in (0, 1, 0, 2, 0):
        reader.load(SampleRef(shard, 0))
    assert opened == ["train-000000", "train-000001", "train-000002"]


def test_copy_opens_its_own_files(tmp_path: Path) -> None:
    """A copy of a reader, such as a worker gets, reads on after the original was closed."""
    reader = SampleReader(read_index(write_set(tmp_path / "set", {"train": [1]})), "train", [10])
    key = reader.load(SampleRef(0, 0)).key
    other = copy.deepcopy(reader)
    reader.close()
    assert other.load(SampleRef(0, 0)).key == key


def test_short_reads_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that returns at most 100 bytes a call, as Linux does with 2 GiB, gives the same pixels."""
    reader = SampleReader(read_index(write_set(tmp_path / "set", {"train": [1]})), "train", [10])
    wanted = reader.load(SampleRef(0, 0)).images[10]
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda file, size, offset: pread(file, min(size, 100), offset))
    assert reader.load(SampleRef(0, 0)).images[10].equal(wanted)


def test_absent_magnification_is_refused_before_reading() -> None:
    """Asking for 1.25x of a set that has none fails at once and names those that are there."""
    with pytest.raises(ShardError, match=r"no 1\.25x here; there is 10x, 5x, 2\.5x"):
        SampleReader(read_index(GOLDEN), "train", [10, 1.25])
