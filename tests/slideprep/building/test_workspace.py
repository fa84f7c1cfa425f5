"""The builder's own files: one build at a time, nothing mixed, nothing half-written, nothing stale."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any, NoReturn

import pytest

from fixtures.build_inputs import SCAN_SETTINGS as SETTINGS
from fixtures.build_inputs import shard_job, write_slides
from fixtures.slides import slide_file
from slideprep.building.scans import scan_with_cache
from slideprep.building.tasks.shard import write_shard
from slideprep.building.workspace import Workspace, record_path, scan_path
from slideprep.errors import UsageError
from slideprep.regions.scan import Scan, ScanFailure
from slideprep.regions.settings import ScanJob
from slideprep.shards.format import WORKSPACE
from slideprep.storage.files import OutputError, write_atomically

IDENTITY: dict[str, Any] = {
    "settings": {"seed": 0, "magnifications": (10.0, 5.0)},
    "slides": {"a.svs": [100, "p1", "train"]},
}


def _begun(out: Path) -> Workspace:
    workspace = Workspace(out)
    with workspace.locked():
        workspace.begin(IDENTITY)
    return workspace


def test_a_second_build_on_the_folder_is_refused(tmp_path: Path) -> None:
    """While one build holds the folder another is turned away, and afterwards it is let in."""
    first, second = Workspace(tmp_path), Workspace(tmp_path)
    with first.locked(), pytest.raises(UsageError, match=r"another build is writing.*another --out"):
        second.locked().__enter__()
    with second.locked():
        pass


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    """A folder with foreign files, or a file, is never written to."""
    (tmp_path / "thesis.doc").touch()
    with pytest.raises(UsageError, match=r"is not empty .* give a new folder"):
        Workspace(tmp_path).locked().__enter__()
    with pytest.raises(UsageError, match=r"is a file; give a folder"):
        Workspace(tmp_path / "thesis.doc").locked().__enter__()
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.doc"]


def test_the_same_build_goes_on(tmp_path: Path) -> None:
    """Beginning again with the same settings keeps build.json and removes the index and partial shards."""
    workspace = _begun(tmp_path)
    (tmp_path / "index.json").touch()
    workspace.partial_folder("train-000000")
    before = (tmp_path / WORKSPACE / "build.json").read_bytes()
    _begun(tmp_path)
    assert (tmp_path / WORKSPACE / "build.json").read_bytes() == before
    assert not (tmp_path / "index.json").exists()
    assert not (tmp_path / WORKSPACE / "partial").exists()


def test_another_build_is_refused_with_what_differs(tmp_path: Path) -> None:
    """The message names every setting and slide that differs, there and now, and both ways out."""
    workspace = _begun(tmp_path)
    (tmp_path / "index.json").touch()
    other = {"settings": {"seed": 1, "magnifications": (10.0, 5.0)}, "slides": {"b.svs": [1, "p", "test"]}}
    with pytest.raises(UsageError) as refusal:
        workspace.begin(other)
    lines = str(refusal.value).splitlines()
    assert lines[1:] == [
        "  settings.seed: 0 there, 1 now",
        '  slides.a.svs: [100, "p1", "train"] there, absent now',
        '  slides.b.svs: absent there, [1, "p", "test"] now',
        "give the settings it was begun with, or a new --out",
    ]
    assert (tmp_path / "index.json").exists()


def test_many_differences_are_counted(tmp_path: Path) -> None:
    """Of 100 other slides a dozen are named."""
    workspace = _begun(tmp_path)
    with pytest.raises(UsageError, match=r"and 88 more"):
        workspace.begin(
            {
                **IDENTITY,
                "slides": {"a.svs": IDENTITY["slides"]["a.svs"], **{f"s{i}": [i] for i in range(100)}},
            }
        )


def test_a_write_that_is_broken_off_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new content comes into place in one step or not at all, and no partial file stays."""
    path = tmp_path / "sub" / "a.json"
    write_atomically(path, b"old")

    def killed(*_: object) -> NoReturn:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(OutputError, match=r"a\.json: No space left on device; make room"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in path.parent.iterdir()] == ["a.json"]


def test_a_files_mode_holds_from_the_first_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret is never readable by others, not even while its partial file is being written."""
    modes = []
    monkeypatch.setattr("os.fsync", lambda handle: modes.append(stat.S_IMODE(os.fstat(handle).st_mode)))
    write_atomically(tmp_path / "a", b"secret", mode=0o600)
    assert modes[0] == 0o600
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600


def test_where_a_file_cannot_be_made_the_folder_is_named(tmp_path: Path) -> None:
    """A file in the place of a folder gives an OutputError, not a traceback."""
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"cannot write to .*file/a\.json.*check permissions"):
        write_atomically(tmp_path / "file" / "a.json", b"")


def _scan(folder: Path, workspace: Workspace, **changes: Any) -> tuple[Scan | ScanFailure, bool]:
    """A slide's scan, and whether it was made anew rather than taken from the cache."""
    job = ScanJob(
        file=slide_file(folder / "a.png"), shown_name="a.png", settings=SETTINGS.model_copy(update=changes)
    )
    path = Path(workspace.out / scan_path("a.png"))
    before = path.stat().st_ino if path.exists() else None
    scan = scan_with_cache(job, workspace=workspace)
    return scan, not path.exists() or path.stat().st_ino != before


def test_a_scan_is_kept_for_the_same_content_and_settings(tmp_path: Path) -> None:
    """The second scan comes from the cache and is equal to the first, to the last field."""
    folder = write_slides(tmp_path / "slides", ["a.png"])
    workspace = _begun(tmp_path / "out")
    first, made = _scan(folder, workspace)
    again, made_again = _scan(folder, workspace)
    assert isinstance(first, Scan)
    assert (made, made_again) == (True, False)
    assert again == first


@pytest.mark.parametrize("cause", ["content", "settings", "damaged", "wrong shape"])
def test_a_scan_that_no_longer_fits_is_made_again(tmp_path: Path, cause: str) -> None:
    """Other pixels, other settings, or a damaged cache file: the slide is scanned again, without a word."""
    folder = write_slides(tmp_path / "slides", ["b.png", "a.png"])
    workspace = _begun(tmp_path / "out")
    _scan(folder, workspace)
    path = Path(workspace.out / scan_path("a.png"))
    if cause == "content":
        (folder / "a.png").write_bytes((folder / "b.png").read_bytes())
    elif cause == "damaged":
        path.write_bytes(path.read_bytes()[:-20])
    elif cause == "wrong shape":
        path.write_text(json.dumps({**json.loads(path.read_bytes()), "scan": {"name": "a.png"}}))
    scan, made = _scan(folder, workspace, **({"image_format": "png"} if cause == "settings" else {}))
    assert made
    assert isinstance(scan, Scan)


def test_a_failed_scan_is_not_kept(tmp_path: Path) -> None:
    """A slide that could not be read is tried again in the next run."""
    (tmp_path / "slides").mkdir()
    (tmp_path / "slides" / "a.png").touch()
    workspace = _begun(tmp_path / "out")
    scan, _ = _scan(tmp_path / "slides", workspace)
    assert isinstance(scan, ScanFailure)
    assert workspace.store.stat(scan_path("a.png")) is None


def test_a_shards_record_counts_only_with_its_tars(tmp_path: Path) -> None:
    """A record is believed if the digest, every size and every checksum agree."""
    job = shard_job(tmp_path / "out", write_slides(tmp_path / "slides", ["a.png"]), ["a.png"])
    record = write_shard(job)
    workspace = Workspace(job.out)
    assert workspace.finished_record("train-000000", job.digest) == record
    assert workspace.finished_record("train-000000", "another") is None
    assert workspace.finished_record("train-000001", job.digest) is None
    tar = job.out / "5x/train-000000.tar"
    data = tar.read_bytes()
    for wrong in (data[:-1], bytes([data[0] ^ 1]) + data[1:]):
        tar.write_bytes(wrong)
        assert workspace.finished_record("train-000000", job.digest) is None
    tar.unlink()
    assert workspace.finished_record("train-000000", job.digest) is None


def test_shards_that_the_plan_dropped_are_removed(tmp_path: Path) -> None:
    """A tar without a place in the plan would make the set invalid; what is planned stays."""
    workspace = _begun(tmp_path)
    for name in ("train-000000", "train-000001"):
        write_atomically(tmp_path / "10x" / f"{name}.tar", b"")
        workspace.store.write(record_path(name), b"")
    workspace.remove_unplanned(frozenset({"train-000000"}), ("10x", "5x"))
    assert [path.name for path in (tmp_path / "10x").iterdir()] == ["train-000000.tar"]
    assert workspace.store.stat(record_path("train-000001")) is None
    assert workspace.store.stat(record_path("train-000000")) is not None


def test_progress_is_read_back_or_unknown(tmp_path: Path) -> None:
    """What was noted is read; before the first note, or in the middle of one, nothing is known."""
    workspace = _begun(tmp_path)
    assert workspace.progress("train-000000") is None
    (tmp_path / WORKSPACE / "partial").mkdir()
    workspace.note_progress("train-000000", "a.svs", 12, 3)
    assert workspace.progress("train-000000") == ("a.svs", 12, 3)
    (tmp_path / WORKSPACE / "partial" / "train-000000.now").write_text('["a.s')
    assert workspace.progress("train-000000") is None
