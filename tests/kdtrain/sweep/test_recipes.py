"""The recipes: the runs they mean, and the paper's numbers in those of the paper."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fixtures.repository import ROOT
from fixtures.shard_sets import write_set
from kdtrain.config.common import HARMLESS, PATHS
from kdtrain.shards.index import read_index
from kdtrain.sweep.check import prepare
from kdtrain.sweep.graph import plan_runs
from kdtrain.sweep.jobs import Job
from kdtrain.sweep.recipe import Recipe, load_recipe

RECIPES = ROOT / "recipes"
NAMES = ("celiac", "luad", "ablation")
MAGNIFICATIONS = ("5", "2.5", "1.25", "0.625")
METRICS = {"accuracy", "f1", "precision", "recall"}


def recipe(name: str) -> Recipe:
    """As it is in the repository."""
    return load_recipe(RECIPES / f"{name}.yaml")


@pytest.mark.parametrize(
    ("name", "methods"),
    [
        ("celiac", ["baseline", "kd", "kd-adv1", "kd-adv2"]),
        ("luad", ["baseline", "kd"]),
        ("ablation", ["kd", "kd-mp", "kd-int", "kd-mp-int"]),
    ],
)
def test_a_recipe_means_the_papers_runs(name, methods):
    """A teacher at 10x, then every method at the four magnifications, high ones first."""
    expected = ["teacher-10x-seed0"] + [f"{m}-{x}x-seed0" for x in MAGNIFICATIONS for m in methods]
    assert [run.name for run in plan_runs(recipe(name))] == expected


def test_the_recipe_of_a_public_set_fits_the_set_that_its_header_builds(tmp_path):
    """A teacher, then Baseline and KD at three magnifications; with train, val and test no run is refused."""
    runs = plan_runs(given := recipe("tcga-lung"))
    students = [f"{method}-{x}x-seed0" for x in ("5", "2.5", "1.25") for method in ("baseline", "kd")]
    assert [run.name for run in runs] == ["teacher-10x-seed0", *students]
    shards = write_set(tmp_path / "set", {"train": [3], "val": [2], "test": [2]}, magnifications=(10, 5, 2.5))
    jobs = prepare(
        runs[:-2], read_index(shards), shards=shards, out=tmp_path / "out", evaluate=given.evaluate
    )
    assert [job.name for job in jobs] == ["teacher-10x-seed0", *students[:-2]]


@pytest.mark.parametrize("name", NAMES)
def test_settings_are_the_papers(name):
    """100 epochs, Adam at 0.001 (section 4.4); 32 samples a step as in the published code; a ResNet's stride of 32."""
    for run in plan_runs(recipe(name)):
        settings = run.settings
        assert (settings["epochs"], settings["lr"], settings["optimizer"]) == (100, 0.001, "adam")
        assert (settings["accumulate"], settings["output_stride"]) == (32, 32)


def jobs_on_a_set(name: str, folder: Path) -> list[Job]:
    """All runs at 10x, 5x and 2.5x on a set built as the header says; the lung set has neither val nor aux."""
    splits = {"train": [3], "test": [2]}
    if name != "luad":
        splits |= {"val": [2], "dev": [2], "aux1": [2], "added": [1]}
    shards = write_set(
        folder / "set",
        splits,
        unlabelled=[split for split in splits if split in ("aux1", "added")],
        sets={"aux2": ["aux1", "added"]} if name != "luad" else None,
        magnifications=(10, 5, 2.5),
    )
    given = recipe(name)
    low = [m for m in given.magnifications if m >= 2.5]
    runs = plan_runs(given.model_copy(update={"magnifications": tuple(low)}))
    jobs = prepare(runs, read_index(shards), shards=shards, out=folder / "out", evaluate=given.evaluate)
    assert [job.name for job in jobs] == [run.name for run in runs]
    return list(jobs)


EVERY = {
    "micro_batch": 1,
    "precision": "fp32",
    "augment": True,
    "jitter": [0.5, 0.5, 0.5, 0.2],
    "stain_normalization": None,
    "stain_augmentation": 0.0,
    "seed": 0,
    "epochs": 100,
    "optimizer": "adam",
    "lr": 0.001,
    "weight_decay": 0.0001,
    "schedule": "constant",
    "warmup_steps": 0,
    "step_every": 0,
    "accumulate": 32,
    "zero_stage": 0,
    "gradient_clipping": 0.0,
    "ema": 0.0,
    "activation_checkpointing": False,
    "decode": "cpu",
    "validate_on": None,
    "fold": None,
}
LABELLED = EVERY | {
    "train_on": ["train"],
    "select_by": "balanced_accuracy",
    "model": "resnet10",
    "output_stride": 32,
    "width": 1.0,
    "stem": "standard",
}
DISTILLED = EVERY | {
    "select_by": "loss",
    "resize": "maxpool+bicubic",
    "temperature": 1.0,
    "soft_weight": 1.0,
    "pixel_weight": 1.0,
    "hint": "mse",
    "label_weight": 0.0,
    "model": None,
    "output_stride": 32,
    "width": None,
    "stem": None,
    "start_from": "random",
    "views": 0,
    "view_order": "cycle",
    "keep_views": False,
}
OWN = {
    "Teacher": LABELLED,
    "Baseline": LABELLED,
    "KD": DISTILLED | {"train_on": ["train"]},
    "KD (ADv1)": DISTILLED | {"train_on": ["aux1"]},
    "KD (ADv2)": DISTILLED | {"train_on": ["aux2"]},
}
RESIZES = {"KD": "none", "KD+MP": "maxpool", "KD+INT": "bicubic", "KD+MP+INT": "maxpool+bicubic"}
"""Of the ablation, whose methods are otherwise alike."""


@pytest.mark.parametrize("name", NAMES)
def test_what_the_papers_recipes_run_is_pinned(name, tmp_path):
    """On a set built as the header says, no run is refused, and each has these settings, whatever options are new.

    Every network is of stride 32, full width and the standard stem; students learn by the mean squared error of eq. 3
    and no label, and no weights are averaged.
    """
    for job in jobs_on_a_set(name, tmp_path):
        assert job.config is not None
        settled = job.config.model_dump(mode="json", exclude=set(PATHS | HARMLESS) | {"magnification"})
        resized = {"resize": RESIZES[job.run.method]} if name == "ablation" and job.needs else {}
        method = "KD" if resized else job.run.method
        kept = {"validate_on": "none"} if name == "luad" else {}
        assert settled == OWN[method] | resized | kept, job.name
        network = job.network
        shape = (network.model, network.output_stride, network.width, network.stem)
        assert shape == ("resnet10", 32, 1, "standard"), job.name


@pytest.mark.parametrize(
    ("name", "methods"),
    [("celiac", {"Baseline", "KD", "KD (ADv1)", "KD (ADv2)"}), ("luad", {"Baseline", "KD"})],
)
def test_the_papers_numbers_are_whole(name, methods):
    """All four metrics of every method, magnification and teacher, each inside its own interval."""
    paper = recipe(name).paper
    assert set(paper) == methods | {"Teacher"}
    for label, rows in paper.items():
        assert set(rows) == ({"10"} if label == "Teacher" else set(MAGNIFICATIONS))
        for values in rows.values():
            assert set(values) == METRICS
            for text in values.values():
                value, low, high = map(float, re.fullmatch(r"([\d.]+) \(([\d.]+)-([\d.]+)\)", text).groups())
                assert low < value < high


@pytest.mark.parametrize(
    ("name", "label", "magnification", "metric", "printed"),
    [
        ("celiac", "Teacher", "10", "accuracy", "87.06 (85.65-88.48)"),
        ("celiac", "Baseline", "0.625", "f1", "55.72 (52.08-59.34)"),
        ("celiac", "KD", "1.25", "accuracy", "84.03 (82.61-85.47)"),
        ("celiac", "KD (ADv1)", "5", "recall", "78.00 (75.18-80.72)"),
        ("celiac", "KD (ADv2)", "2.5", "precision", "73.61 (70.44-76.68)"),
        ("luad", "Teacher", "10", "recall", "85.31 (79.27-90.66)"),
        ("luad", "Baseline", "5", "precision", "84.74 (78.78-90.31)"),
        ("luad", "KD", "1.25", "accuracy", "90.80 (88.24-93.32)"),
    ],
)
def test_the_papers_numbers_stand_in_the_right_place(name, label, magnification, metric, printed):
    """One of each column of Tables 3 and 4."""
    assert recipe(name).paper[label][magnification][metric] == printed


def test_shapes_are_every_stride_and_width_of_both_methods():
    """A teacher, then twelve shapes of Baseline and KD at three magnifications; labels say the shape."""
    runs = plan_runs(recipe("shapes"))
    shapes = [f"s{s}{w}" for s in (32, 16, 8, 4) for w in ("", " w0.5", " w0.25")]
    expected = [(f"{m} {s}", x) for x in (5, 2.5, 1.25) for m in ("Baseline", "KD") for s in shapes]
    assert [(run.method, run.magnification) for run in runs[1:]] == expected
    assert (runs[0].name, len(runs)) == ("teacher-10x-seed0", 73)
    assert (runs[-1].settings["output_stride"], runs[-1].settings["width"]) == (4, 0.25)
