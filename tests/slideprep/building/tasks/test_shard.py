"""One shard's tars: their members, their order, and what happens to damaged slides and full disks."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from PIL import Image

from fixtures.build_inputs import (
    SCALE_20X,
    SIDE_PX,
    shard_job,
    source_slide,
    whole_slide_sample,
    write_slides,
)
from fixtures.slides import half_zero_tile, picture, write_jpeg_tiff
from fixtures.tars import members
from slideprep.building.limits import QualityLimits
from slideprep.building.plan import Shard
from slideprep.building.tasks import shard as open_slides
from slideprep.building.tasks.job import ShardJob
from slideprep.building.tasks.shard import write_shard
from slideprep.building.workspace import Workspace
from slideprep.shards import tar as shard_tar
from slideprep.shards.format import key_for
from slideprep.shards.records import read_sums
from slideprep.storage.files import OutputError

NAMES = ("b.png", "a.png", "c.png")
TARS = ("10x/train-000000.tar", "5x/train-000000.tar")


@pytest.fixture
def slides(tmp_path: Path) -> Path:
    """Three tiny slides."""
    return write_slides(tmp_path / "slides", NAMES)


def _bytes(out: Path) -> list[bytes]:
    return [(out / tar).read_bytes() for tar in TARS]


@pytest.mark.parametrize(("image_format", "quality"), [("png", None), ("jpeg", 90), ("webp", 90)])
def test_the_same_job_gives_the_same_bytes(
    tmp_path: Path, slides: Path, image_format: str, quality: int | None
) -> None:
    """Two folders written from the same slides hold the same tars, byte for byte, in every format."""
    for out in (tmp_path / "one", tmp_path / "two"):
        write_shard(shard_job(out, slides, NAMES, image_format=image_format, quality=quality))
    assert _bytes(tmp_path / "one") == _bytes(tmp_path / "two")


def test_members_are_adjacent_sorted_and_the_same_everywhere(tmp_path: Path, slides: Path) -> None:
    """Samples in the plan's order; of each, class number, record and image in the order of their extensions."""
    record = write_shard(shard_job(tmp_path / "out", slides, NAMES))
    keys = [key_for(name, 0) for name in NAMES]
    expected = [f"{key}.{extension}" for key in keys for extension in ("cls", "json", "png")]
    assert list(record.keys) == keys
    assert [list(members(tmp_path / "out" / tar)) for tar in TARS] == [expected, expected]


def test_unlabelled_samples_have_no_class_member(tmp_path: Path, slides: Path) -> None:
    """A sample without a label has an image and a record, whose label is null."""
    sample = whole_slide_sample("a.png", label=None)
    job = shard_job(
        tmp_path / "out", slides, ["a.png"], shard=Shard(split="aux1", number=0, samples=(sample,))
    )
    write_shard(job)
    tar = tmp_path / "out/10x/aux1-000000.tar"
    assert list(members(tar)) == [f"{sample.key}.json", f"{sample.key}.png"]
    assert json.loads(members(tar)[f"{sample.key}.json"])["label"] is None


def test_the_record_tells_where_the_image_comes_from(tmp_path: Path, slides: Path) -> None:
    """160 px at 20x are 80 px at 10x with a factor of 2 and 1 µm per pixel; the class number counts the classes."""
    write_shard(shard_job(tmp_path / "out", slides, ["a.png"], classes=("stroma", "gland")))
    key, tar = key_for("a.png", 0), tmp_path / "out" / TARS[0]
    record = json.loads(members(tar)[f"{key}.json"])
    assert (record["factor"], record["mpp"], record["image"]["width"]) == (2, 1, 80)
    assert (record["slide"], record["patient"], record["label"]) == ("a.png", "patient of a", "gland")
    assert record["region"]["width"] == 160
    assert members(tar)[f"{key}.cls"] == b"1"
    with Image.open(io.BytesIO(members(tar)[f"{key}.png"])) as image:
        assert (image.size, image.mode) == ((80, 80), "RGB")


def test_a_shards_record_describes_its_tars(tmp_path: Path, slides: Path) -> None:
    """Sizes, checksums, cells and colour sums in the record are those of the files and of their images."""
    record = write_shard(shard_job(tmp_path / "out", slides, ["a.png"]))
    for name, path in (("10x", TARS[0]), ("5x", TARS[1])):
        data = (tmp_path / "out" / path).read_bytes()
        assert record.files[name].path == path
        assert (record.files[name].bytes, record.files[name].sha256) == (
            len(data),
            hashlib.sha256(data).hexdigest(),
        )
    assert record.cells == ((40, 40),)
    assert record.sums is not None
    png = members(tmp_path / "out" / TARS[1])[f"{key_for('a.png', 0)}.png"]
    with Image.open(io.BytesIO(png)) as image:
        pixels = np.asarray(image).reshape(-1, 3).astype(np.int64)
    assert record.sums["5x"].pixels == len(pixels)
    assert record.sums["5x"].sums == tuple(pixels.sum(axis=0))
    assert record.sums["5x"].squares == tuple((pixels**2).sum(axis=0))


def test_sums_of_a_jpeg_are_those_of_its_pixels_before_encoding(tmp_path: Path, slides: Path) -> None:
    """They are those of the PNG; every sample's are kept, so that what is left of a shard can be added up."""
    png = write_shard(shard_job(tmp_path / "png", slides, ["a.png"]))
    job = shard_job(tmp_path / "jpeg", slides, ["a.png"], image_format="jpeg", quality=60)
    jpeg = write_shard(job)
    assert jpeg.sums == png.sums
    assert jpeg.sums is not None
    assert {name: read_sums(text) for name, text in jpeg.sample_sums.items()} == {
        name: [sums] for name, sums in jpeg.sums.items()
    }


def test_what_an_earlier_version_finished_serves_where_it_has_no_sums(tmp_path: Path, slides: Path) -> None:
    """Its digest stays; a shard with sums of decoded images is written again for a new set: same tars, other sums."""
    jpeg = {"image_format": "jpeg", "quality": 60}
    without, with_sums = (
        [
            write_shard(
                shard_job(tmp_path / str(sums), slides, ["a.png"], with_sums=sums, statistics_of=kind, **jpeg)
            )
            for kind in ("decoded", "unencoded")
        ]
        for sums in (False, True)
    )
    assert without[0] == without[1]
    earlier, now = with_sums
    assert earlier.files == now.files
    assert earlier.digest != now.digest
    assert earlier.sums != now.sums


def test_a_region_beyond_a_limit_is_left_out_of_every_magnification(tmp_path: Path, slides: Path) -> None:
    """A slide under blue ink is in no tar and is listed with its number; the others' tars are those without it."""
    Image.new("RGB", (SIDE_PX, SIDE_PX), (40, 70, 170)).save(slides / "b.png")

    def job(out: Path, names: Sequence[str]) -> ShardJob:
        made = shard_job(out, slides, names)  # of 16 µm per pixel at 5x, so that there is room for a stroke
        scaled = {n: replace(s, scale=replace(SCALE_20X, mpp=4.0)) for n, s in made.slides.items()}
        return replace(made, slides=scaled)

    record = write_shard(replace(job(tmp_path / "out", NAMES), limits=QualityLimits(max_ink=0.5)))
    keys = [key_for(name, 0) for name in NAMES]
    assert record.keys == tuple(keys[1:])
    assert [(row.slide, row.region, row.stage) for row in record.left_out] == [("b.png", 0, "quality")]
    assert record.left_out[0].reason == "ink 1 is above --max-ink 0.5"
    assert record.quality.keys() == set(keys)
    assert record.failures == ()
    write_shard(job(tmp_path / "two", NAMES[1:]))
    assert _bytes(tmp_path / "out") == _bytes(tmp_path / "two")


def test_a_finished_shard_of_an_earlier_version_is_kept(tmp_path: Path, slides: Path) -> None:
    """A record that says nothing of quality is read, and its shard is not written again."""
    job = shard_job(tmp_path / "out", slides, NAMES)
    write_shard(job)
    path = tmp_path / "out/.slideprep/shards/train-000000.json"
    known = json.loads(path.read_text())
    assert known.pop("quality")
    assert known.pop("left_out") == []
    path.write_text(json.dumps(known))
    shutil.rmtree(slides)
    kept = write_shard(job)
    assert (len(kept.keys), kept.quality, kept.left_out) == (3, {}, ())


def test_few_slides_are_open_at_a_time(tmp_path: Path, slides: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shard of many small slides keeps few of them open, closes all in the end, and its bytes do not change."""
    write_shard(shard_job(tmp_path / "many", slides, NAMES))
    opened: list[Any] = []
    closed: list[Any] = []
    open_original = open_slides.open_reader

    def counting(file: Any) -> Any:
        slide = open_original(file)
        close = slide.close
        monkeypatch.setattr(slide, "close", lambda: (closed.append(slide.name), close()))
        opened.append(slide.name)
        assert len(opened) - len(closed) <= 2
        return slide

    monkeypatch.setattr(open_slides, "open_reader", counting)
    monkeypatch.setattr(open_slides, "SLIDES_OPEN", 2)
    write_shard(shard_job(tmp_path / "few", slides, NAMES))
    assert sorted(opened) == sorted(closed) == sorted(NAMES)
    assert _bytes(tmp_path / "few") == _bytes(tmp_path / "many")


def _damaged(folder: Path) -> Path:
    half_zero_tile(write_jpeg_tiff(folder / "damaged.tif", picture(160, 160)), 4)
    return folder / "damaged.tif"


def _empty(folder: Path) -> Path:
    (folder / "damaged.tif").write_bytes(b"")
    return folder / "damaged.tif"


@pytest.mark.parametrize(("damage", "stage"), [(_damaged, "read"), (_empty, "open")])
def test_a_damaged_slide_is_left_out_of_every_magnification_and_listed(
    tmp_path: Path, slides: Path, damage: Any, stage: str
) -> None:
    """The others are written as if it had not been planned; the record says which region is missing and why."""
    damage(slides)
    record = write_shard(shard_job(tmp_path / "out", slides, ["a.png", "damaged.tif", "c.png"]))
    write_shard(shard_job(tmp_path / "without", slides, ["a.png", "c.png"]))
    assert _bytes(tmp_path / "out") == _bytes(tmp_path / "without")
    assert [(f.slide, f.region, f.stage) for f in record.failures] == [("damaged.tif", 0, stage)]
    assert "damaged.tif" in record.failures[0].reason


def test_a_slide_that_crashed_its_worker_is_not_touched(tmp_path: Path, slides: Path) -> None:
    """What brought a worker down is listed with what is known and not opened again."""
    (slides / "a.png").unlink()
    job = shard_job(tmp_path / "out", slides, ["b.png"])
    crashing = replace(
        job,
        shard=Shard(split="train", number=0, samples=tuple(map(whole_slide_sample, ("a.png", "b.png")))),
        slides={**job.slides, "a.png": replace(job.slides["b.png"], name="a.png")},
        crashed={"a.png": "brought its worker down"},
    )
    record = write_shard(crashing)
    assert record.keys == (key_for("b.png", 0),)
    assert [f.reason for f in record.failures] == ["brought its worker down"]


def test_reasons_show_the_pseudonym_alone(tmp_path: Path, slides: Path) -> None:
    """A reader's message names the file; the record, which is inside the set, names the pseudonym."""
    path = _damaged(slides)
    source = source_slide(path, name="slide-123456")
    sample = replace(whole_slide_sample("damaged.tif"), slide="slide-123456")
    job = shard_job(
        tmp_path / "out", slides, [], shard=Shard(split="train", number=0, samples=(sample,)),
        slides={"slide-123456": source},
    )  # fmt: skip
    reason = write_shard(job).failures[0].reason
    assert "slide-123456" in reason
    assert "damaged" not in reason.replace("damaged tile", "")
    assert str(slides) not in reason


def test_a_finished_shard_is_taken_as_it_is(
    tmp_path: Path, slides: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second run opens no slide; once a byte of a tar has changed, the shard is written again."""
    job = shard_job(tmp_path / "out", slides, NAMES)
    first = write_shard(job)
    before = _bytes(tmp_path / "out")
    with monkeypatch.context() as patch:
        patch.setattr(open_slides, "open_reader", _must_not_run)
        assert write_shard(job) == first
    tar = tmp_path / "out" / TARS[0]
    data = bytearray(tar.read_bytes())
    data[1000] ^= 1
    tar.write_bytes(data)
    write_shard(job)
    assert _bytes(tmp_path / "out") == before


def _must_not_run(*_: object) -> NoReturn:
    raise AssertionError("a finished shard is not written again")


def test_a_shard_with_failures_is_tried_again(tmp_path: Path, slides: Path) -> None:
    """Once the slide is whole again, the same job writes it: the cause may have been a network or a disk."""
    good = (slides / "c.png").read_bytes()
    job = shard_job(tmp_path / "out", slides, NAMES)
    (slides / "c.png").write_bytes(b"")
    assert len(write_shard(job).keys) == 2
    (slides / "c.png").write_bytes(good)
    assert len(write_shard(job).keys) == 3


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), PermissionError(13, "denied")]
)
def test_a_folder_that_cannot_be_written_stops_the_build(
    tmp_path: Path, slides: Path, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    """A full disk is no slide's fault: the message says what to do, and neither tar nor partial file is left."""

    def full(*_: object) -> NoReturn:
        raise error

    monkeypatch.setattr(shard_tar.os, "fsync", full)
    with pytest.raises(
        OutputError, match=r"cannot write to .*(No space left|denied).*run the same command again"
    ):
        write_shard(shard_job(tmp_path / "out", slides, NAMES))
    left = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert [path.name for path in left] == ["train-000000.now"]


CHANGES: Mapping[str, Any] = {
    "fingerprint": lambda job: _with_source(job, fingerprint="0" * 64),
    "patient": lambda job: _with_source(job, patient="another"),
    "scale": lambda job: _with_source(job, scale=replace(SCALE_20X, mpp=0.25)),
    "label": lambda job: _with_samples(
        job, replace(job.shard.samples[0], label="stroma"), *job.shard.samples[1:]
    ),
    "order": lambda job: _with_samples(job, *reversed(job.shard.samples)),
    "quality": lambda job: replace(job, quality=50),
    "magnifications": lambda job: replace(job, magnifications=(10.0,)),
    "classes": lambda job: replace(job, classes=("stroma", "gland")),
    "limits": lambda job: replace(job, limits=QualityLimits(min_focus=0.1)),
}


def _with_source(job: ShardJob, **changes: Any) -> ShardJob:
    return replace(job, slides={**job.slides, "a.png": replace(job.slides["a.png"], **changes)})


def _with_samples(job: ShardJob, *samples: Any) -> ShardJob:
    return replace(job, shard=replace(job.shard, samples=samples))


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_decides_the_bytes_changes_the_digest(tmp_path: Path, slides: Path, change: str) -> None:
    """A finished shard is recognised by its content: another patient, label or order makes it another shard."""
    job = shard_job(tmp_path / "out", slides, NAMES)
    assert CHANGES[change](job).digest != job.digest


def test_the_folder_does_not_change_the_digest(tmp_path: Path, slides: Path) -> None:
    """A set that was moved, or whose slides were, is still the same set."""
    job = shard_job(tmp_path / "out", slides, NAMES)
    moved = slides.rename(tmp_path / "moved")
    assert shard_job(tmp_path / "elsewhere", moved, NAMES).digest == job.digest


def test_progress_is_noted_for_every_sample(
    tmp_path: Path, slides: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The slide being read, the level-0 pixels read and the samples written, before each sample."""
    noted = []
    monkeypatch.setattr(Workspace, "note_progress", lambda _self, _shard, *note: noted.append(note))
    write_shard(shard_job(tmp_path / "out", slides, NAMES))
    assert noted == [(name, 160 * 160 * number, number) for number, name in enumerate(NAMES)]
