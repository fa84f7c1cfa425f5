"""A cache of a teacher that is no run: what is written, again and again the same, and what is refused."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fixtures.sources import VIEWS, Means, source_cached, source_config
from kdtrain.augment import AugmentSettings, draw
from kdtrain.data.teacher_cache.document import shard_name
from kdtrain.data.teacher_cache.opening import open_cache
from kdtrain.data.teacher_cache.reader import CacheReader
from kdtrain.errors import TrainingError, UsageError
from kdtrain.phases import cache_writer as writer
from kdtrain.phases.cache_folder import CacheFolder
from kdtrain.phases.cache_source import source_settings
from kdtrain.phases.cache_teacher import wanted_splits
from kdtrain.shards.index import read_index

pytest.importorskip("deepspeed", reason="needs DeepSpeed")

SOURCES = {
    "image": Means(),
    "logits": Means(logits=True),
    "features": Means(turns=True),
    "blind": Means(blind=0.5, stride=16),
}


def bytes_of(cache: Path) -> dict[str, str]:
    """Digests of what a reader sees of a cache."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in cache.iterdir() if path.is_file()
    }


@pytest.mark.parametrize("name", SOURCES)
def test_what_a_source_says_is_read_back(shards, tmp_path, name):
    """Every view has the draw of its epoch, the laid map as float16, its mask, and logits exactly where there are."""
    source = SOURCES[name]
    source_cached(shards, tmp_path / "cache", source, output_stride=source.stride)
    index, cache = read_index(shards), open_cache(tmp_path / "cache")
    document = cache.document
    assert document.version == (2, 0) and document.teacher == source.entry
    assert document.classes == (source.classes or None) and document.channels == 4
    assert document.augments == ("map" if source.turns else "image")
    shard, turned = index.shards_of("aux1")[0], set()
    assert set(document.shards[0].sources) == ({"2.5x"} if source.turns else {"10x", "2.5x"})
    reader = CacheReader(cache, index)
    for position, sample in enumerate(writer.EvaluationStream(index, "aux1", [10, 2.5], shards={0})):
        for view in range(VIEWS):
            found = reader.load(shard, position, view, key=sample.key)
            drawn = draw(AugmentSettings(), seed=0, epoch=view, key=sample.key)
            assert found.draw == drawn
            turned.add(drawn.quarter_turns % 2)
            (said,) = source.views(sample, [drawn], sample.sizes[2.5])
            wanted = torch.where(said.valid_HW, said.maps["laid"], 0).half()
            assert torch.equal(found.view.maps["laid"], wanted)
            assert torch.equal(found.view.valid_HW, said.valid_HW)
            assert (found.view.logits_K is None) == (not source.logits)
            if source.logits:
                assert torch.equal(found.view.logits_K, said.logits_K)
    assert turned == {0, 1}


class Killed(BaseException):
    """Ends a command where a kill would."""


@pytest.mark.parametrize("name", ["logits", "features"])
def test_a_killed_writer_goes_on_with_the_same_bytes(shards, tmp_path, monkeypatch, name):
    """Twice the same bytes; stopped in its third shard and gone on with, the same again, and two tars untouched."""
    source, settings = SOURCES[name], {"output_stride": SOURCES[name].stride}
    for out in ("one", "two"):
        source_cached(shards, tmp_path / out, source, **settings)
    wanted = bytes_of(tmp_path / "one")
    assert bytes_of(tmp_path / "two") == wanted and len(wanted) == 5
    calls: list[str] = []
    original = writer.encode_view

    def stopping(view, what):
        calls.append(what)
        if len(calls) == 2 * VIEWS + VIEWS + 2:
            raise Killed
        return original(view, what)

    with monkeypatch.context() as patch:
        patch.setattr(writer, "encode_view", stopping)
        with pytest.raises(Killed):
            source_cached(shards, tmp_path / "cut", source, **settings)
    assert not (tmp_path / "cut" / "cache.json").exists()
    done = {path: path.stat().st_mtime_ns for path in (tmp_path / "cut").glob("*.tar")}
    assert len(done) == 2
    assert source_cached(shards, tmp_path / "cut", source, **settings).written == 2
    assert {path: path.stat().st_mtime_ns for path in done} == done
    assert bytes_of(tmp_path / "cut") == wanted


@pytest.mark.parametrize("name", ["logits", "features"])
def test_processes_share_the_shards(shards, tmp_path, name):
    """Two of them, each with its own part of the tars, leave the bytes of one."""
    source, index = SOURCES[name], read_index(shards)
    source_cached(shards, tmp_path / "one", source)
    config = source_config(shards, tmp_path / "two", output_stride=32)
    settings, wanted = source_settings(config, index, source), wanted_splits(config, index)
    read = (*source.magnifications, config.magnification)
    folder = CacheFolder(config.out)
    folder.begin(settings)
    todo = [shard_name(s.split, s.number) for s in folder.todo(index, wanted, read)]
    parts = writer.deal(index, todo, read[0], 2)
    assert [len(part) for part in parts] == [2, 2]
    for part in parts[::-1]:
        own = writer.ShardWriter(folder, index, settings, source, config.magnification)
        own.write(part, wanted, workers=0, pin_memory=False, on_sample=lambda stats: None)
    folder.finish(settings, index, read)
    assert bytes_of(tmp_path / "two") == bytes_of(tmp_path / "one")


def test_another_source_is_never_mixed_in(shards, tmp_path):
    """One of other content for a folder that holds a cache: refused by its hash, and nothing is touched."""
    source_cached(shards, tmp_path / "cache", Means())
    before = bytes_of(tmp_path / "cache")
    with pytest.raises(UsageError, match=r"caches are never mixed:\n  teacher\.sha256"):
        source_cached(shards, tmp_path / "cache", Means(salt="other"))
    assert bytes_of(tmp_path / "cache") == before


def test_a_source_that_was_moved_is_the_same(shards, tmp_path):
    """Asked for under another name, by the same content: nothing is written, and the name stays the first one."""

    class Moved(Means):
        @property
        def entry(self):
            return Means().entry.model_copy(update={"name": "elsewhere"})

    source_cached(shards, tmp_path / "cache", Means())
    before = bytes_of(tmp_path / "cache")
    assert source_cached(shards, tmp_path / "cache", Moved()).written == 0
    assert bytes_of(tmp_path / "cache") == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"maps": {"laid": torch.zeros(5, 1, 1)}},
            r"gave map \(5, 1, 1\).* where there should be map \(4, 1, 1\)",
        ),
        ({"maps": {"laid": torch.zeros(4, 2, 2)}}, r"gave map \(4, 2, 2\)"),
        ({"valid_HW": torch.ones(2, 1, dtype=torch.bool)}, r"valid \(2, 1\) where"),
        ({"logits_K": torch.zeros(3)}, r"gave logits \(3,\), map"),
        (
            {"maps": {"laid": torch.full((4, 1, 1), float("nan"))}},
            r"not finite for .* of slide '.*' \(vectors\)",
        ),
        ({"maps": {"laid": torch.full((4, 1, 1), -7e4)}}, r"reach 70000, .*divide the teacher's vectors"),
    ],
)
def test_views_that_cannot_be_kept_are_named(shards, tmp_path, change, message):
    """Other channels, sizes or logits than were announced, and values that no float16 holds; no tar is left of them."""

    class Odd(Means):
        def views(self, sample, draws, student_size):
            return [replace(view, **change) for view in super().views(sample, draws, student_size)]

    with pytest.raises(TrainingError, match=message):
        source_cached(shards, tmp_path / "cache", Odd())
    assert not list((tmp_path / "cache").glob("*.tar*"))


def test_what_a_source_cannot_teach_is_refused(shards, tmp_path):
    """A student that looks closer than its teacher, and logits of other classes than the set's; nothing is written."""

    class Others(Means):
        classes = ("a", "b")

    class Low(Means):
        @property
        def entry(self):
            return super().entry.model_copy(update={"magnification": 1.25})

    for source, message in (
        (Low(), r"--magnification 2\.5 is above the 1\.25x that fixtures\.sources:Means looks at"),
        (Others(), r"has the classes a, b, --shards .* has .*build the set with --classes a,b"),
    ):
        with pytest.raises(UsageError, match=message):
            source_cached(shards, tmp_path / "cache", source)
        assert not (tmp_path / "cache").exists()
