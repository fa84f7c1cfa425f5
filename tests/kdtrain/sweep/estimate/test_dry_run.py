"""What the dry run shows: every run with its cost and how far it is, and that nothing is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from fixtures.training_runs import kdtrain, write_training_set
from kdtrain.sweep.estimate import dry_run
from kdtrain.sweep.estimate.cost import Speed
from kdtrain.sweep.estimate.dry_run import stage_text
from kdtrain.sweep.state import Progress

RECIPE: dict[str, Any] = {
    "title": "Small",
    "about": "Five fields of squares.\n",
    "magnifications": [2.5],
    "settings": {"epochs": 4, "accumulate": 2, "validate_on": "none", "output_stride": 32},
    "teacher": {"seed": 0},
    "methods": {"KD": {"phase": "distill", "train_on": "aux2"}},
}


@pytest.fixture
def a_second_a_gflop(monkeypatch):
    """A machine on which a pass takes a second per GFLOP, and nothing else takes time."""
    line = ((0.0, 0.0), (1.0, 1.0))
    speed = Speed(device="cpu", training=line, forward=line, start_s=0.0, process_bytes=0)
    monkeypatch.setattr(dry_run, "measure_speed", lambda *_, **__: speed)


@pytest.fixture
def arguments(tmp_path) -> tuple[object, ...]:
    """A sweep of a teacher and a student."""
    shards = write_training_set(tmp_path / "set")
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(RECIPE))
    return ("sweep", path, "--shards", shards, "--out", tmp_path / "out", "--dry-run")


def shown(*arguments: object) -> list[dict[str, Any]]:
    """The runs as --json has them."""
    ended = kdtrain(*arguments, "--json")
    assert ended.code == 0, ended.said
    rows: list[dict[str, Any]] = json.loads(ended.said)
    return rows


def test_a_person_sees_runs_costs_and_totals(arguments, a_second_a_gflop):
    """What the recipe says of itself, a line per run, and what is to do."""
    ended = kdtrain(*arguments)
    assert ended.code == 0
    assert ended.said.startswith("Five fields of squares. 2 runs")
    assert "teacher-10x-seed0 teacher train 5 12 " in ended.said
    assert "kd-2.5x-seed0 distill aux2 5 12 " in ended.said
    assert "to do: 2 of 2 runs" in ended.said


def test_shapes_stand_in_a_column_where_they_are_not_the_papers(arguments, a_second_a_gflop):
    """With the images that "auto" chose by below the table; and in the JSON."""
    path = arguments[1]
    assert "shape" not in kdtrain(*arguments).said
    method = RECIPE["methods"]["KD"] | {"output_stride": "auto", "width": [1, 0.5]}
    path.write_text(yaml.safe_dump(RECIPE | {"methods": {"KD": method}}))
    said = " ".join(kdtrain(*arguments).said.split())
    assert "teacher-10x-seed0 teacher train s32 5 12 " in said
    assert "kd-2.5x-seed0 distill aux2 s4 (auto) 5 12 " in said
    assert "kd-w0-5-2.5x-seed0 distill aux2 s4 w0.5 5 12 " in said.replace("w0.5 (auto)", "w0.5")
    assert "shorter side (kd-2.5x-seed0, kd-w0-5-2.5x-seed0)" in said
    teacher, _, narrow = shown(*arguments)
    assert (teacher["output_stride_chosen"], narrow["output_stride_chosen"]) == (
        None,
        {"stride": 4, "cells": 8, "median_shorter_side_px": 32},
    )
    assert narrow["shape"] == {
        "model": "resnet10",
        "output_stride": "4",
        "width": "0.5",
        "stem": "standard",
    }
    assert "output stride 32 leaves 4 cells" in teacher["warning"]


def test_nothing_is_written(arguments, a_second_a_gflop, tmp_path):
    """Neither the sweep's folder nor a lock."""
    kdtrain(*arguments)
    assert not (tmp_path / "out").exists()


def test_a_student_costs_its_own_passes_and_the_teachers(arguments, a_second_a_gflop):
    """Four epochs of five fields, a second per GFLOP: the student's pass and, for it, the teacher's forward pass."""
    teacher, student = shown(*arguments)
    assert teacher["estimate"]["seconds"] == pytest.approx(
        4 * 5 * teacher["estimate"]["gflops_forward"], rel=1e-6
    )
    per_sample = student["estimate"]["gflops_forward"] + student["estimate"]["teacher_gflops_forward"]
    assert student["estimate"]["seconds"] == pytest.approx(4 * 5 * per_sample, rel=1e-6)
    assert student["depends_on"] == ["teacher-10x-seed0"]


def leave_checkpoint(folder: Path, recipe_row: dict[str, Any], step: int) -> None:
    """Of a run that was stopped."""
    (folder / "checkpoints" / f"step-{step:06d}").mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(recipe_row))


def test_a_stopped_run_has_only_its_rest_before_it(arguments, a_second_a_gflop, tmp_path):
    """At step 3 of 12, three quarters of the time are left."""
    from kdtrain.shards.index import read_index
    from kdtrain.sweep.plan import Options, make_plan

    plan = make_plan(Options(recipe=arguments[1], shards=arguments[3], out=arguments[5]))
    job = plan.jobs[0]
    assert job.config is not None
    record = {
        "settings": job.config.record,
        "shard_set": {"sha256": read_index(plan.shards).sha256},
        "network": job.network.record,
    }
    leave_checkpoint(job.folder, record, 3)
    (tmp_path / "out" / "sweep.json").write_text(
        json.dumps({"format": "kdtrain-sweep", "version": 1, "runs": []})
    )
    teacher, _ = shown(*arguments)
    assert (teacher["stage"], teacher["step"]) == ("begun", 3)
    assert teacher["seconds_left"] == pytest.approx(0.75 * teacher["estimate"]["seconds"])


@pytest.mark.parametrize(
    ("progress", "text"),
    [
        (Progress(stage="new"), "to do"),
        (Progress(stage="begun"), "to do"),
        (Progress(stage="begun", step=1200), "goes on at step 1,200"),
        (Progress(stage="trained"), "to be measured"),
        (Progress(stage="finished"), "finished"),
    ],
)
def test_stages_have_words(progress, text):
    """How far a run is, as the table says it."""
    assert stage_text(progress) == text
