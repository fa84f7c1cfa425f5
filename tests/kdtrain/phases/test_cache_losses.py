"""Cached and online distillation are one method: the same draws give the same losses."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from fixtures.shard_sets import write_set
from fixtures.teacher_caches import VIEWS, cached
from fixtures.training_runs import kdtrain, log_of, record_of, trained, weights_sha256
from kdtrain.data.teacher_cache import view
from kdtrain.losses import RESIZES

pytest.importorskip("deepspeed", reason="needs DeepSpeed")

SETTINGS = ("--optimizer", "sgd", "--lr", "1e-4", "--epochs", VIEWS + 1)
"""Small steps without Adam, which makes every first step as large as the learning rate: what is compared is each step's
loss, not how training enlarges a difference of the steps before. Samples and draws change from step to step."""
TOLERANCE = 5e-4
"""A float16 is off by 2^-12 of its value at most. The squared difference to the student's map, (t - s)^2, is then off
by 2 |t - s| |t| 2^-12, which is 5e-4 of it where |t| and |t - s| are alike, as they are before the student has learnt
the maps. Errors of both signs cancel in the mean: 8e-5 at most was seen."""


@pytest.fixture(scope="module", params=[32, 16])
def stride(request) -> int:
    """Of the student: the teacher's, and a finer one, at which its maps are larger."""
    return request.param


@pytest.fixture(scope="module")
def cache(shards, teacher, stride, tmp_path_factory) -> Path:
    """Three views of aux2, one of dev."""
    out = tmp_path_factory.mktemp("caches") / "cache"
    return cached(shards, teacher, out, "--output-stride", stride)


def student(shards: Path, out: Path, *options: object, train_on: str = "aux2") -> Path:
    """Distil for four epochs of two steps or more, at the cache's stride, or at that of the caches here."""
    common = ("--magnification", 2.5, "--train-on", train_on, *SETTINGS)
    if "--teacher-cache" not in options:
        common += ("--output-stride", 32)
    return trained("distill", shards, out, *common, *options)


def losses(run: Path) -> list[float]:
    """Of all steps and validations, with their parts."""
    names = ("loss", "loss_soft", "loss_pixel", "soft", "pixel")
    return [line[name] for line in log_of(run) for name in names if name in line]


@pytest.mark.parametrize("resize", list(RESIZES))
def test_cached_losses_are_the_online_ones(shards, teacher, cache, stride, tmp_path, resize):
    """Every step and validation of four epochs over three views, one by one and in micro-batches of up to two.

    The images are not square, so micro-batches hold images that lie alike once they are turned.
    """
    options = ("--resize", resize, "--output-stride", stride)
    online = losses(student(shards, tmp_path / "online", "--teacher", teacher, "--views", VIEWS, *options))
    assert len(online) == 4 * (2 + 1) * 3
    for micro_batch in (1, 2):
        out = tmp_path / f"cached-{micro_batch}"
        run = student(shards, out, "--teacher-cache", cache, "--micro-batch", micro_batch, *options)
        assert losses(run) == pytest.approx(online, rel=TOLERANCE, abs=1e-6)


def test_square_images_agree_in_micro_batches(teacher, tmp_path):
    """Online and cached, both in micro-batches of two: an online batch of square images keeps every draw too."""
    shards = write_set(tmp_path / "set", {"train": [3, 3], "val": [2]}, cells=((32, 32), (40, 40)))
    cache = cached(shards, teacher, tmp_path / "cache", "--micro-batch", 2, train_on="train")
    common = ("--micro-batch", 2)
    runs = [
        student(shards, tmp_path / name, *common, *options, train_on="train")
        for name, options in (
            ("online", ("--teacher", teacher, "--views", VIEWS)),
            ("cached", ("--teacher-cache", cache)),
        )
    ]
    assert losses(runs[1]) == pytest.approx(losses(runs[0]), rel=TOLERANCE, abs=1e-6)


def test_targets_in_float32_give_the_very_same_run(shards, teacher, tmp_path, monkeypatch):
    """With maps kept as float32 log and weights are the online run's to the bit: float16 is all the difference."""
    single = ("--micro-batch", 1)
    online = student(shards, tmp_path / "online", "--teacher", teacher, "--views", VIEWS, *single)
    monkeypatch.setattr(view, "MAP_TYPE", torch.float32)
    cache = cached(shards, teacher, tmp_path / "cache")
    run = student(shards, tmp_path / "cached", "--teacher-cache", cache, *single)
    assert log_of(run) == log_of(online)
    assert weights_sha256(run) == weights_sha256(online)


def test_views_may_be_drawn_in_another_order_and_fewer(shards, teacher, tmp_path):
    """Two of three cached views, drawn for each sample, are those of an online run that draws so."""
    cache = cached(shards, teacher, tmp_path / "cache")
    options = ("--views", 2, "--view-order", "sample")
    online = student(shards, tmp_path / "online", "--teacher", teacher, *options)
    run = student(shards, tmp_path / "cached", "--teacher-cache", cache, *options)
    assert losses(run) == pytest.approx(losses(online), rel=TOLERANCE, abs=1e-6)
    assert losses(online) != losses(student(shards, tmp_path / "cycled", "--teacher", teacher, "--views", 2))


def test_kept_views_are_a_cache_in_the_runs_folder(shards, teacher, tmp_path):
    """--keep-views trains to the bytes of a run with the same cache, keeps it, and goes on after a kill.

    Once the run is finished they may go: neither the same command nor one that is refused makes them again.
    """
    cache = cached(shards, teacher, tmp_path / "cache")
    apart = student(shards, tmp_path / "apart", "--teacher-cache", cache)
    kept = tmp_path / "kept"
    options = ("--teacher", teacher, "--views", VIEWS, "--keep-views")
    student(shards, kept, *options)
    assert weights_sha256(kept) == weights_sha256(apart)
    assert (kept / "teacher-cache" / "cache.json").read_bytes() == (cache / "cache.json").read_bytes()
    (kept / "model.safetensors").unlink()
    (kept / "teacher-cache" / "cache.json").unlink()
    student(shards, kept, *options)
    assert weights_sha256(kept) == weights_sha256(apart)
    shutil.rmtree(kept / "teacher-cache")
    student(shards, kept, *options)
    refused = kdtrain("distill", "--shards", shards, "--out", kept, "--magnification", 2.5, *options)
    assert "settings.train_on" in refused.said
    assert not (kept / "teacher-cache").exists()


def test_no_views_are_kept_where_there_is_no_place_for_a_run(shards, teacher, tmp_path):
    """A folder that holds something else is refused before anything is written into it."""
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").touch()
    options = ("--teacher", teacher, "--magnification", 2.5, "--views", 2, "--keep-views")
    refused = kdtrain("distill", "--shards", shards, "--out", tmp_path / "notes", *options)
    assert refused.code == 2
    assert "is not empty and holds no run" in refused.said
    assert [path.name for path in (tmp_path / "notes").iterdir()] == ["a.txt"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--teacher", "t"), "keeps --views (views), and there are none; give --views 8"),
        (("--teacher-cache", "c", "--views", 2), "holds views already; leave one of the two out"),
        (("--teacher", "t", "--views", 2, "--no-augment"), "without augmentation; give --views 1 (views)"),
    ],
)
def test_views_that_are_none_or_there_already_cannot_be_kept(shards, tmp_path, options, said):
    """Keeping needs a number of views, and no other cache."""
    common = ("--shards", shards, "--out", tmp_path / "run", "--magnification", 2.5)
    refused = kdtrain("distill", *common, "--keep-views", *options)
    assert refused.code == 2
    assert said in " ".join(refused.said.split())


def test_without_augmentation_one_view_is_enough(shards, teacher, tmp_path):
    """A cache of images as they are gives the losses of a run with --no-augment."""
    cache = cached(shards, teacher, tmp_path / "cache", "--no-augment", "--views", 1)
    online = student(shards, tmp_path / "online", "--teacher", teacher, "--no-augment")
    run = student(shards, tmp_path / "cached", "--teacher-cache", cache, "--no-augment")
    assert losses(run) == pytest.approx(losses(online), rel=TOLERANCE, abs=1e-6)


def test_the_teachers_tars_are_not_needed(shards, teacher, tmp_path):
    """With the 10x folder and the teacher's run gone, a student trains and validates as before, workers and all."""
    small = tmp_path / "set"
    shutil.copytree(shards, small)
    cache = cached(small, teacher, tmp_path / "cache")
    before = student(small, tmp_path / "before", "--teacher-cache", cache)
    shutil.rmtree(small / "10x")
    after = student(small, tmp_path / "after", "--teacher-cache", cache, "--workers", 2)
    assert weights_sha256(after) == weights_sha256(before)
    refused = kdtrain("teacher", "--shards", small, "--out", tmp_path / "none")
    assert "rule F07 file-present" in refused.said


def test_a_run_knows_its_cache_and_its_teacher(shards, teacher, tmp_path):
    """The record has the teacher as an online run has it, and the cache by its hash; another cache is another run."""
    one, two = (cached(shards, teacher, tmp_path / f"cache{seed}", "--seed", seed) for seed in (0, 1))
    run = student(shards, tmp_path / "run", "--teacher-cache", one)
    online = student(shards, tmp_path / "online", "--teacher", teacher, "--epochs", 1)
    assert record_of(run)["shard_set"]["teacher"] == record_of(online)["shard_set"]["teacher"]
    assert set(record_of(run)["shard_set"]["teacher_cache"]) == {"sha256", "views", "seed"}
    moved = one.rename(tmp_path / "moved")
    student(shards, run, "--teacher-cache", moved)
    options = ("--magnification", 2.5, "--train-on", "aux2", *SETTINGS, "--teacher-cache", two)
    refused = kdtrain(
        "distill",
        "--shards",
        shards,
        "--out",
        run,
        *options,
        "--workers",
        0,
        "--accumulate",
        4,
        "--logger",
        "none",
    )
    assert refused.code == 2
    assert "shard_set.teacher_cache.sha256" in refused.said
    said = kdtrain("distill", "--shards", shards, "--out", tmp_path / "other", *options, "--workers", 0).said
    assert "draws of seed 1, not of --seed 0" in said
