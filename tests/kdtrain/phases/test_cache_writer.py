"""A teacher cache as it is written: begun once, gone on with, grown, never mixed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from fixtures.locks import held_elsewhere
from fixtures.shard_sets import write_set
from fixtures.teacher_caches import VIEWS, cache_options, cached, flip_bit
from fixtures.training_runs import Run, kdtrain, trained
from kdtrain.data.teacher_cache.opening import open_cache
from kdtrain.phases import cache_writer as writer
from kdtrain.phases.cache_writer import deal
from kdtrain.shards.index import read_index

pytest.importorskip("deepspeed", reason="needs DeepSpeed")


def bytes_of(cache: Path) -> dict[str, str]:
    """Digests of what a reader sees of a cache."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in cache.iterdir() if path.is_file()
    }


def again(shards: Path, teacher: Path, out: Path, *options: object, train_on: str = "aux2") -> Run:
    """Run the command, whatever it says."""
    return kdtrain("cache-teacher", *cache_options(shards, teacher, out, *options, train_on=train_on))


def test_the_same_command_gives_the_same_bytes(shards, teacher, teacher_cache, tmp_path):
    """Twice, with loader processes the second time: the same tars and the same cache.json, and nothing else."""
    second = cached(shards, teacher, tmp_path / "cache", "--workers", 2)
    assert bytes_of(second) == bytes_of(teacher_cache)
    names = {"aux1-000000.tar", "aux1-000001.tar", "added-000000.tar", "dev-000000.tar", "cache.json"}
    assert set(bytes_of(second)) == names


def test_a_finished_cache_is_left_alone(shards, teacher, tmp_path):
    """The command again writes no shard, and says what the cache holds: samples, views, sizes, share."""
    cache = cached(shards, teacher, tmp_path / "cache")
    times = {path.name: path.stat().st_mtime_ns for path in cache.iterdir() if path.is_file()}
    run = again(shards, teacher, cache)
    assert run.code == 0
    assert {path.name: path.stat().st_mtime_ns for path in cache.iterdir() if path.is_file()} == times
    size = sum((cache / name).stat().st_size for name in times if name.endswith(".tar"))
    index = read_index(shards)
    sources = sum(s.files["10x"].bytes for split in ("aux2", "dev") for s in index.shards_of(split))
    assert "0 of 4 shards written" in run.said
    assert f"7 samples, {5 * VIEWS + 2} views" in run.said
    assert (
        f"{size / 1e6:.1f} MB, {size / 7 / 1e6:.3g} MB a sample, {size / sources:.1%} of the teacher's"
        in run.said
    )


class Killed(BaseException):
    """Ends a command where a kill would."""


@pytest.mark.parametrize("sample", [1, 2, 4, 6])
def test_a_writer_that_is_stopped_goes_on(shards, teacher, teacher_cache, tmp_path, monkeypatch, sample):
    """Stopped at any sample, it has no cache.json; tars that were done stay, and the rest ends with the same bytes."""
    calls = []
    original = writer.encode_view

    def stopping(view, what):
        calls.append(what)
        if "v000.st" in what and sum("v000.st" in name for name in calls) == sample:
            raise Killed
        return original(view, what)

    with monkeypatch.context() as patch:
        patch.setattr(writer, "encode_view", stopping)
        with pytest.raises(Killed):
            again(shards, teacher, tmp_path / "cache")
    assert not (tmp_path / "cache" / "cache.json").exists()
    done = list((tmp_path / "cache").glob("*.tar"))
    times = {path: path.stat().st_mtime_ns for path in done}
    assert len(done) == {1: 0, 2: 0, 4: 2, 6: 3}[sample]
    run = again(shards, teacher, tmp_path / "cache")
    assert f"{4 - len(done)} of 4 shards written" in run.said
    assert {path: path.stat().st_mtime_ns for path in done} == times
    assert bytes_of(tmp_path / "cache") == bytes_of(teacher_cache)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        (("--seed", 1), "seed: 0 there, 1 now"),
        (("--views", 4), "views: 3 there, 4 now"),
        (("--jitter", "0.5,0.5,0.5,0.1"), "augmentation.hue: 0.2 there, 0.1 now"),
        (("--no-augment", "--views", 1), "augmentation: {"),
        (("--output-stride", 16), "student.output_stride: 32 there, 16 now"),
        (("--precision", "bf16"), 'precision: "fp32" there, "bf16" now'),
    ],
)
def test_another_cache_is_never_mixed_in(shards, teacher, teacher_cache, options, field):
    """Other settings for a folder that holds a cache: exit code 2, what differs, and nothing is touched."""
    before = bytes_of(teacher_cache)
    run = again(shards, teacher, teacher_cache, *options)
    assert run.code == 2
    assert "holds a teacher cache of other settings, and caches are never mixed" in run.said
    assert field in run.said
    assert bytes_of(teacher_cache) == before


def test_another_teacher_is_another_cache(shards, teacher_cache, tmp_path):
    """Weights of another run are refused for a folder that holds a cache."""
    other = trained("teacher", shards, tmp_path / "other", "--seed", 5)
    run = again(shards, other, teacher_cache)
    assert run.code == 2
    assert "teacher.weights_sha256" in run.said


def test_a_folder_of_something_else_is_left_alone(shards, teacher, tmp_path):
    """A folder with a file of somebody's is refused."""
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "notes.txt").write_text("mine")
    run = again(shards, teacher, tmp_path / "cache")
    assert run.code == 2
    assert "is not empty and holds no teacher cache" in run.said
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["notes.txt"]


def test_one_command_writes_at_a_time(shards, teacher, tmp_path):
    """While another process holds the folder's lock the command is refused, and not any more when that has ended."""
    cache = cached(shards, teacher, tmp_path / "cache")
    with held_elsewhere(cache / ".kdtrain" / "lock", "kdtrain cache-teacher", cache):
        run = again(shards, teacher, cache)
    assert run.code == 2
    assert f"another 'kdtrain cache-teacher' writes to {cache}" in run.said
    assert again(shards, teacher, cache).code == 0


def test_damaged_tars_are_written_anew(shards, teacher, teacher_cache, tmp_path):
    """A flipped bit that changes no size is found by the command, and one tar is written again with its old bytes."""
    cache = cached(shards, teacher, tmp_path / "cache")
    flip_bit(cache / "aux1-000000.tar", 3000)
    (cache / "dev-000000.tar").unlink()
    run = again(shards, teacher, cache)
    assert "2 of 4 shards written" in run.said
    assert bytes_of(cache) == bytes_of(teacher_cache)


def test_a_cache_grows_with_its_set(teacher, tmp_path):
    """A set that gained a shard: the same command adds its tar, and leaves the others to the byte and the second."""
    small = write_set(tmp_path / "small", {"train": [3], "val": [2]})
    large = write_set(tmp_path / "large", {"train": [3, 2], "val": [2]})
    cache = cached(small, teacher, tmp_path / "cache", train_on="train")
    before = {path.name: path.stat().st_mtime_ns for path in cache.glob("*.tar")}
    run = again(large, teacher, cache, train_on="train")
    assert "1 of 3 shards written" in run.said
    after = {path.name: path.stat().st_mtime_ns for path in cache.glob("*.tar")}
    assert set(after) - set(before) == {"train-000001.tar"}
    assert all(after[name] == time for name, time in before.items())
    assert bytes_of(cache) == bytes_of(cached(large, teacher, tmp_path / "fresh", train_on="train"))


def test_a_shard_that_changed_is_cached_again(shards, teacher, tmp_path):
    """Tars of a shard that was written again are replaced; a cache.json of the old ones does not outlive them."""
    old = write_set(tmp_path / "old", {"train": [3, 2], "val": [2]})
    new = write_set(
        tmp_path / "new",
        {"train": [3, 2], "val": [2]},
        edit_record=lambda record: (
            record.update(reader="other") if record["slide"] == "train-4.svs" else None
        ),
    )
    cache = cached(old, teacher, tmp_path / "cache", train_on="train")
    run = again(new, teacher, cache, train_on="train")
    assert "1 of 3 shards written" in run.said
    index = read_index(new)
    (entry,) = [e for e in open_cache(cache).document.shards if e.path == "train-000001.tar"]
    assert entry.sources["10x"] == index.shards_of("train")[1].files["10x"].sha256


def test_more_splits_may_follow(shards, teacher, teacher_cache, tmp_path):
    """aux1 first and aux2 later is the cache that aux2 gives at once."""
    cache = cached(shards, teacher, tmp_path / "cache", train_on="aux1")
    assert len(open_cache(cache).document.shards) == 3
    cached(shards, teacher, cache)
    assert bytes_of(cache) == bytes_of(teacher_cache)


def test_a_split_is_cached_in_one_way(shards, teacher, teacher_cache):
    """What was cached to validate on cannot be trained on from the same folder: the message says what to do."""
    run = again(shards, teacher, teacher_cache, train_on="dev")
    assert run.code == 2
    assert "holds 'dev' without augmentation, and it is asked for with" in run.said
    assert run.said.endswith("give a new --out")


def test_an_empty_shard_has_an_empty_tar(teacher, tmp_path):
    """A shard without samples is cached as the end mark alone, and training goes over it."""
    shards = write_set(tmp_path / "set", {"train": [3, 0, 2], "val": [2]})
    cache = cached(shards, teacher, tmp_path / "cache", train_on="train")
    assert (cache / "train-000001.tar").read_bytes() == bytes(1024)
    options = ("--teacher-cache", cache, "--magnification", 2.5)
    trained("distill", shards, tmp_path / "run", *options)


def test_shards_are_dealt_out_by_size(shards):
    """Two ranks get the largest shard each, then the rest by what they have; every shard once, the same every time."""
    index = read_index(shards)
    names = ["aux1-000000", "aux1-000001", "added-000000", "dev-000000"]
    dealt = deal(index, names, 10, 2)
    assert sorted(name for part in dealt for name in part) == sorted(names)
    assert [len(part) for part in dealt] == [2, 2]
    assert dealt == deal(index, names[::-1], 10, 2)
    sizes = {f"{s.split}-{s.number:06d}": s.files["10x"].bytes for s in index.document.shards}
    assert [sizes[part[0]] for part in dealt] == sorted((sizes[name] for name in names), reverse=True)[:2]
    assert deal(index, names[:1], 10, 3) == [["aux1-000000"], [], []]


def test_a_damaged_workspace_is_named(shards, teacher, tmp_path):
    """Settings that cannot be read are refused by name; an entry that cannot be read costs its tar alone."""
    cache = cached(shards, teacher, tmp_path / "cache")
    (cache / ".kdtrain" / "dev-000000.json").write_text("{")
    assert "1 of 4 shards written" in again(shards, teacher, cache).said
    (cache / ".kdtrain" / "settings.json").write_text(json.dumps({}))
    run = again(shards, teacher, cache)
    assert run.code == 2
    assert f"{cache / '.kdtrain' / 'settings.json'} is damaged" in run.said
