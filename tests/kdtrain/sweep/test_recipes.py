"""The recipes of the paper: the runs they mean, and the paper's numbers in them."""

from __future__ import annotations

import re

import pytest

from fixtures.repository import ROOT
from fixtures.shard_sets import write_set
from kdtrain.shards.index import read_index
from kdtrain.sweep.check import prepare
from kdtrain.sweep.graph import plan_runs
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
    """100 epochs, Adam at 0.001 (section 4.4); 32 samples a step as in the published code."""
    for run in plan_runs(recipe(name)):
        settings = run.settings
        assert (settings["epochs"], settings["lr"], settings["optimizer"]) == (100, 0.001, "adam")
        assert settings["accumulate"] == 32


@pytest.mark.parametrize("name", NAMES)
def test_every_run_fits_a_set_built_as_the_header_says(name, tmp_path, monkeypatch):
    """On a set with the protocol's splits, no run is refused; the lung set has neither val nor aux."""
    splits = {"train": [3], "test": [2]}
    if name != "luad":
        splits |= {"val": [2], "dev": [2], "aux1": [2], "added": [1]}
    shards = write_set(
        tmp_path / "set",
        splits,
        unlabelled=[split for split in splits if split in ("aux1", "added")],
        sets={"aux2": ["aux1", "added"]} if name != "luad" else None,
        magnifications=(10, 5, 2.5),
    )
    given = recipe(name)
    low = [m for m in given.magnifications if m >= 2.5]
    runs = plan_runs(given.model_copy(update={"magnifications": tuple(low)}))
    jobs = prepare(runs, read_index(shards), shards=shards, out=tmp_path / "out", evaluate=given.evaluate)
    assert [job.name for job in jobs] == [run.name for run in runs]


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
