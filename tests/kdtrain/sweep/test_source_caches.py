"""A recipe whose students learn from the cache of a teacher that is no run."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.sources import Means, source_cached
from fixtures.training_runs import record_of, weights
from kdtrain.config.phases import PhaseConfig
from kdtrain.errors import UsageError
from kdtrain.model.projector import Projection
from kdtrain.model.resnet import ModelSpec
from kdtrain.report.runs.run import not_ready
from kdtrain.sweep.estimate import cost, speed
from kdtrain.sweep.estimate.cost import Speed, estimate_run
from kdtrain.sweep.estimate.memory import Images, StepShape, step_bytes
from kdtrain.sweep.jobs import Job, source_of
from kdtrain.sweep.plan import Options, Plan, make_plan
from kdtrain.sweep.runners.job import run_request
from kdtrain.sweep.runners.local import request_of

pytest.importorskip("deepspeed", reason="needs DeepSpeed")

LINE = ((0.0, 0.0), (1.0, 1.0))
SPEED = Speed(device="cpu", training=LINE, forward=LINE)


@pytest.fixture(scope="module")
def cache(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Without logits."""
    out = tmp_path_factory.mktemp("caches") / "cache"
    source_cached(shards, out, Means())
    return out


def planned(shards: Path, cache: Path, folder: Path, more: str = "") -> Plan:
    """Features, and a classifier made of them."""
    recipe = folder / "recipe.yaml"
    recipe.write_text(
        f"""
title: features
magnifications: [2.5]
settings: {{epochs: 1, accumulate: 4, workers: 0, logger: none, width: 0.25}}
methods:
  Features: {{phase: distill, teacher_cache: {cache}, train_on: aux2, hint: cosine{more}}}
  Tuned: {{phase: finetune, student: Features, unfreeze: true}}
evaluate: {{iterations: 50}}
"""
    )
    return make_plan(Options(recipe=recipe, shards=shards, out=folder / "out"))


def test_features_are_trained_and_what_is_made_of_them_is_measured(shards, cache, tmp_path):
    """No teacher is planned; the students' runs end without metrics and count as finished, the tuned ones with."""
    plan = planned(shards, cache, tmp_path)
    features, tuned = plan.jobs
    assert (features.run.depends_on, tuned.run.depends_on) == ((), (features.name,))
    assert features.network.classes == () and tuned.network.classes == tuple(plan.index.document.classes)
    for job, measured in ((features, False), (tuned, True)):
        assert plan.progress()[job.name].stage == "new"
        request = request_of(job, train=True, shards=shards, out=plan.out, evaluate=plan.recipe.evaluate)
        assert request["splits"] == (["test"] if measured else [])
        run_request(request)
        assert plan.progress()[job.name].stage == "finished"
        assert (job.folder / "evaluation-test").exists() == measured
        reason = not_ready(job.folder, "test", shards)
        assert (
            (reason is None) if measured else ("report the run that 'kdtrain finetune' made of it" in reason)
        )
    assert "fc.weight" not in weights(features.folder)
    assert record_of(tuned.folder)["settings"]["unfreeze"] is True


def test_what_training_takes_is_estimated(shards, cache, tmp_path, monkeypatch):
    """A projector's arithmetic comes on top, and an unfrozen run costs three passes where fc alone costs one."""
    plan = planned(shards, cache, tmp_path)
    features, tuned = (job.config.model_copy(update={"validate_on": "none"}) for job in plan.jobs)
    source = source_of(plan.jobs[0])
    assert source is not None and source_of(plan.jobs[1]) is None
    shapes: list[StepShape] = []
    monkeypatch.setattr(cost, "step_bytes", lambda shape, *, on_cpu: shapes.append(shape) or 1)

    def pflops(config: PhaseConfig, job: Job) -> float:
        given = source if job is plan.jobs[0] else None
        return estimate_run(
            config, plan.index, teacher=None, student=job.network, speed=SPEED, source=given
        ).training_pflops

    frozen = pflops(tuned.model_copy(update={"unfreeze": False}), plan.jobs[1])
    assert pflops(tuned, plan.jobs[1]) == pytest.approx(3 * frozen)
    assert [shape.trains for shape in shapes] == ["fc", "all"]
    logits_alone = features.model_copy(update={"pixel_weight": 0})
    assert pflops(features, plan.jobs[0]) > pflops(logits_alone, plan.jobs[0])
    assert [shape.projection for shape in shapes[2:]] == [Projection.to_vectors(4), None]


def test_memory_of_a_feature_network_needs_no_class():
    """A step of one is counted, and the projector's output comes on top."""
    student = Images(spec=ModelSpec(name="resnet10", n_classes=0, width=0.25), height=32, width=32)
    sizes = [
        step_bytes(StepShape(student=student, augment=False, projection=projection), on_cpu=False)
        for projection in (None, Projection.to_vectors(4096))
    ]
    # Weight, bias, their gradients and two moments each, in float32.
    assert sizes[1] - sizes[0] >= 4 * 4 * (64 * 4096 + 4096)


def test_a_feature_network_can_be_timed(monkeypatch):
    """The calibration of a dry run takes a network without classes."""
    monkeypatch.setattr(speed, "SIDES_PX", (32, 64))
    monkeypatch.setattr(speed, "_median_s", lambda work, device: (work(), 1.0)[1])
    measured = speed.measure_speed("cpu", ModelSpec(name="resnet10", n_classes=0, width=0.25))
    assert [seconds for _, seconds in measured.training] == [1, 1]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            ", resize: maxpool",
            "run features-2.5x-seed0: --resize maxpool: the vectors of fixtures.sources:Means lie",
        ),
        (", jitter: [0, 0, 0, 0]", "does not fit this run:\n  augmentation:"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_runs(shards, cache, tmp_path, more, message):
    """Settings without meaning and a cache for something else, with the run's name."""
    with pytest.raises(UsageError) as refused:
        planned(shards, cache, tmp_path, more)
    assert message in str(refused.value)
