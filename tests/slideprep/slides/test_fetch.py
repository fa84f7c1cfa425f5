"""Slides of an object store as local files: fetched once, kept within the limit, never taken from under a task."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from fixtures.buckets import empty_memory
from slideprep.errors import SlideOpenError
from slideprep.slides.discover import find_slides
from slideprep.slides.fetch import fetched, forget, forget_idle
from slideprep.slides.files import SlideFile
from slideprep.storage import remote
from slideprep.storage.access import Access
from slideprep.storage.files import OutputError
from slideprep.storage.places import Url

FOLDER = Url("memory://archive/slides")
SIZE = 1000


@pytest.fixture(autouse=True)
def _empty() -> None:
    empty_memory()


@pytest.fixture
def downloads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the objects that were fetched, in order."""
    names: list[str] = []
    download = remote.download

    def noting(url: Url, file: Path, *, size: int) -> None:
        names.append(url.name)
        download(url, file, size=size)

    monkeypatch.setattr(remote, "download", noting)
    return names


def _slides(*names: str) -> list[SlideFile]:
    for number, name in enumerate(names):
        remote.write_bytes(FOLDER / name, bytes([number]) * SIZE)
    return find_slides([FOLDER])[0]


def _access(tmp_path: Path, slides: float = 10) -> Access:
    return Access(scratch=tmp_path, limit_bytes=round(slides * SIZE))


def _kept(tmp_path: Path) -> set[str]:
    return {path.name for path in tmp_path.rglob("*.svs")}


def test_a_slide_has_its_name_and_bytes(tmp_path: Path) -> None:
    """Inside the block the files are there as in the store, and messages show where they came from."""
    (slide,) = _slides("a.svs")
    with fetched(slide, _access(tmp_path)) as local:
        assert local.path.name == "a.svs"
        assert local.path.read_bytes() == bytes(SIZE)
        assert local.files == (local.path,)
        assert local.remote is not None
        assert local.remote.shown(f"cannot read {local.path}") == f"cannot read {FOLDER}/a.svs"
        assert local.places == (FOLDER / "a.svs", FOLDER / "a.svs")


def test_a_local_slide_is_left_where_it_is(tmp_path: Path) -> None:
    """Nothing is copied or made."""
    path = tmp_path / "a.svs"
    path.touch()
    slide = SlideFile(name="a.svs", path=path, files=(path,))
    with fetched(slide, _access(tmp_path)) as local:
        assert local is slide
    forget(local)
    assert list(tmp_path.iterdir()) == [path]


def test_a_slide_is_fetched_once_while_there_is_room(tmp_path: Path, downloads: list[str]) -> None:
    """The scan's copy serves the shard; when the shard has done with it, nothing is left."""
    (slide,) = _slides("a.svs")
    for _ in range(2):
        with fetched(slide, _access(tmp_path)) as local:
            pass
    assert downloads == ["a.svs"]
    forget(local)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["room.lock"]


def test_what_was_used_longest_ago_goes_first(tmp_path: Path) -> None:
    """With room for two of three slides, the one that was not used again is removed."""
    first, second, third = _slides("a.svs", "b.svs", "c.svs")
    for slide in (first, second, first, third):
        with fetched(slide, _access(tmp_path, slides=2)):
            pass
    assert _kept(tmp_path) == {"a.svs", "c.svs"}


def test_what_is_in_use_stays_whatever_the_limit(tmp_path: Path) -> None:
    """A task may hold more than the limit; the rest goes as soon as it is not in use."""
    slides = _slides("a.svs", "b.svs", "c.svs")
    access = _access(tmp_path, slides=0)
    with ExitStack() as stack:
        opened = [stack.enter_context(fetched(slide, access)) for slide in slides]
        forget(opened[0])
        assert all(local.path.exists() for local in opened)
    (last,) = _slides_named("d.svs")
    with fetched(last, access):
        assert _kept(tmp_path) == {"d.svs"}


def test_at_the_end_of_a_build_only_what_others_use_stays(tmp_path: Path) -> None:
    """Slides that were looked at and went into no shard do not stay on the disk."""
    slides = _slides("a.svs", "b.svs")
    with fetched(slides[0], _access(tmp_path)):
        with fetched(slides[1], _access(tmp_path)):
            pass
        forget_idle(_access(tmp_path))
        assert _kept(tmp_path) == {"a.svs"}


def _slides_named(name: str) -> list[SlideFile]:
    remote.write_bytes(FOLDER / name, bytes(SIZE))
    return find_slides([FOLDER / name])[0]


def test_half_a_slide_of_a_killed_task_is_fetched_anew(tmp_path: Path, downloads: list[str]) -> None:
    """What a kill left half-fetched is neither used nor kept."""
    (slide,) = _slides("a.svs")
    with fetched(slide, _access(tmp_path)) as local:
        folder = local.path.parent
    folder.rename(folder.with_suffix(".partial"))
    (folder.with_suffix(".partial") / "a.svs").write_bytes(b"half")
    with fetched(slide, _access(tmp_path)) as local:
        assert local.path.read_bytes() == bytes(SIZE)
    assert not folder.with_suffix(".partial").exists()
    assert downloads == ["a.svs", "a.svs"]


@pytest.mark.parametrize("change", ["replaced", "removed"])
def test_a_slide_that_changed_since_it_was_found_fails_alone(tmp_path: Path, change: str) -> None:
    """Another size, or no object any more: that slide cannot be opened, and the message says where it was."""
    (slide,) = _slides("a.svs")
    if change == "replaced":
        remote.write_bytes(FOLDER / "a.svs", bytes(SIZE + 1))
    else:
        remote.remove(FOLDER / "a.svs")
    expected = "1000 bytes then, 1001 now" if change == "replaced" else "No such file or directory"
    with (
        pytest.raises(SlideOpenError, match=expected) as refusal,
        fetched(slide, _access(tmp_path)),
    ):
        pass
    assert f"{FOLDER}/a.svs" in str(refusal.value)


def test_a_full_disk_stops_the_build_and_names_the_scratch_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Room is the person's to make; the slide is not to blame."""
    (slide,) = _slides("a.svs")

    def full(_url: Url, file: Path, *, size: int) -> None:
        raise OSError(28, f"No space left on device for {size} bytes", str(file))

    monkeypatch.setattr(remote, "download", full)
    with (
        pytest.raises(OutputError, match=rf"cannot write to {tmp_path}.*No space left.*make room"),
        fetched(slide, _access(tmp_path)),
    ):
        pass


def test_a_store_that_does_not_answer_stops_the_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An outage is no fault of the slide, which must not be listed as failed for it."""
    (slide,) = _slides("a.svs")

    def silent(_url: Url, _file: Path, *, size: int) -> None:
        raise remote.UnansweredError(5, f"no answer ({size} bytes)")

    monkeypatch.setattr(remote, "download", silent)
    with (
        pytest.raises(OutputError, match=r"cannot fetch .*a\.svs: no answer.*finished shards are kept"),
        fetched(slide, _access(tmp_path)),
    ):
        pass
