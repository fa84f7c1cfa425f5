"""Which run a teacher cache fits: what differs is refused, with the command that makes one that fits."""

from __future__ import annotations

import re

import pytest

from fixtures.shard_sets import write_set
from fixtures.teacher_caches import cache_options, cached, distil
from fixtures.training_runs import SPLITS, kdtrain, trained, write_training_set

pytest.importorskip("deepspeed", reason="needs DeepSpeed")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--jitter", "0.5,0.5,0.5,0.1"), "augmentation: brightness 0.5, .*hue 0.2,.* there, .*hue 0.1"),
        (("--no-augment",), "augmentation: .* there, none here"),
        (("--output-stride", 16), "--output-stride: 32 there, 16 here"),
        (("--magnification", 5), "--magnification: 2.5 there, 5 here"),
        (("--views", 4), "--views: 3 there, 4 here"),
        (("--validate-on", "val"), "shards: val-000000 not cached (rule T18 source)"),
        (("--train-on", "train"), "shards: train-000000, train-000001 not cached (rule T18 source)"),
    ],
)
def test_a_cache_for_something_else_is_refused(teacher_cache, tmp_path, options, message):
    """Augmentation, stride, magnification, views or splits that differ: exit code 2, the difference, the command."""
    shards = write_training_set(tmp_path / "set", magnifications=(10, 5, 2.5))
    run = distil(shards, tmp_path / "run", "--teacher-cache", teacher_cache, *options)
    assert run.code == 2
    assert not (tmp_path / "run").exists()
    assert re.search(message.replace("(", r"\(").replace(")", r"\)"), run.said), run.said
    assert f"this makes one that fits: kdtrain cache-teacher --shards {shards}" in run.said


def test_another_teacher_is_refused(teacher_cache, shards, tmp_path):
    """Weights that are not those that the cache was made with are named by their hashes."""
    other = trained("teacher", shards, tmp_path / "other", "--seed", 5)
    run = distil(shards, tmp_path / "run", "--teacher-cache", teacher_cache, "--teacher", other)
    assert run.code == 2
    assert "teacher: weights" in run.said and "in --teacher (rule T17 teacher)" in run.said
    assert f"--teacher {other} --magnification 2.5 --views 3 --seed 0" in run.said


def test_the_same_teacher_may_be_named(teacher_cache, shards, teacher, tmp_path):
    """With --teacher its weights are checked, and can be started from; from a cache alone they cannot."""
    options = ("--teacher-cache", teacher_cache, "--start-from", "teacher")
    assert distil(shards, tmp_path / "run", *options, "--teacher", teacher).code == 0
    refused = distil(shards, tmp_path / "none", *options)
    assert refused.code == 2
    assert (
        "--start-from: the teacher's weights are in no cache; give --teacher too (given: 'teacher')"
        in refused.said
    )


def test_changed_shards_are_refused(teacher_cache, tmp_path):
    """A set whose records changed has other tars under the same names: two of them are named, and why."""
    changed = write_set(
        tmp_path / "set",
        SPLITS,
        unlabelled=["aux1", "added"],
        sets={"aux2": ["aux1", "added"]},
        edit_record=lambda record: record.update(reader="other 1.0"),
    )
    run = distil(changed, tmp_path / "run", "--teacher-cache", teacher_cache)
    assert run.code == 2
    assert "aux1-000000, aux1-000001, added-000000 changed since they were cached (rule T18" in run.said
    assert f"--out {teacher_cache}" in run.said


def test_the_command_that_is_named_makes_one_that_fits(shards, teacher, tmp_path):
    """What a refusal says to run, once TEACHER and CACHE are filled in, is then accepted."""
    cache = cached(shards, teacher, tmp_path / "cache", "--seed", 4)
    options = ("--jitter", "0.1,0.1,0.1,0.1", "--output-stride", 16, "--teacher-cache", cache)
    said = distil(shards, tmp_path / "run", *options).said
    words = said.partition("makes one that fits: kdtrain ")[2].split()
    made = tmp_path / "made"
    filled = [{"TEACHER": str(teacher), "CACHE": str(made)}.get(word, word) for word in words]
    assert kdtrain(*filled, "--workers", 0).code == 0
    assert distil(shards, tmp_path / "run", *options[:-1], made).code == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "--teacher-cache: there is no teacher; give --teacher, or a cache that was made with it"),
        (("--teacher-cache", "s3://bucket/cache"), "not from a URL; copy it there"),
        (("--teacher-cache", "absent"), "no cache.json (rule T01 cache-present)"),
        (
            ("--teacher", "t", "--view-order", "sample"),
            "--view-order: chooses among --views, and there are none",
        ),
    ],
)
def test_what_cannot_teach_is_refused(shards, tmp_path, options, message):
    """No teacher at all, a URL, a folder without a cache, an order of views that there are none of: exit code 2."""
    run = distil(shards, tmp_path / "run", *options)
    assert run.code == 2
    assert message in run.said


def test_options_of_the_writer_are_checked(shards, teacher, tmp_path):
    """Views without augmentation, a magnification that is not lower, the test split: refused before any work."""
    for options, message in (
        (("--no-augment",), "--views: without augmentation a sample has one view; give --views 1 (given: 3)"),
        (("--magnification", 10), "10 is not below the teacher's 10x"),
        (("--train-on", "test"), "includes the test split"),
        (("--views", 1001), "--views: must be a whole number from 1 to 1,000"),
    ):
        run = kdtrain("cache-teacher", *cache_options(shards, teacher, tmp_path / "cache", *options))
        assert run.code == 2 and message in run.said
        assert not (tmp_path / "cache").exists()
