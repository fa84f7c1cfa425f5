"""Recipes: what is understood, and what is refused with the key that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdtrain.errors import UsageError
from kdtrain.sweep.recipe import load_recipe

SMALL = """
title: Small
magnifications: [5, 2.5]
settings: {epochs: 3}
teacher: {magnification: 10, seed: 0, lr: 0.01}
methods:
  Baseline: {phase: baseline}
  KD: {phase: distill, train_on: aux1, resize: maxpool}
"""


def load(folder: Path, text: str):
    """A recipe out of text."""
    path = folder / "recipe.yaml"
    path.write_text(text)
    return load_recipe(path)


def test_settings_stand_beside_the_keys_of_their_section(tmp_path):
    """What a section does not know itself is a setting of its runs."""
    recipe = load(tmp_path, SMALL)
    assert recipe.teacher is not None
    assert (recipe.teacher.seed, dict(recipe.teacher.settings)) == (0, {"lr": 0.01})
    assert dict(recipe.methods["KD"].settings) == {"train_on": "aux1", "resize": "maxpool"}
    assert recipe.methods["KD"].resize == ()


def test_a_list_of_resizes_is_a_methods_own(tmp_path):
    """A list makes several methods, and is no setting of one."""
    recipe = load(tmp_path, SMALL.replace("resize: maxpool", "resize: [none, maxpool]"))
    assert recipe.methods["KD"].resize == ("none", "maxpool")
    assert dict(recipe.methods["KD"].settings) == {"train_on": "aux1"}


def test_lists_of_shapes_are_a_methods_own(tmp_path):
    """Strides, widths and stems as the options have them, "auto" among the strides."""
    shapes = "output_stride: [32, auto], width: [1, 0.5], stem: [standard, small]"
    recipe = load(tmp_path, SMALL.replace("phase: baseline", f"phase: baseline, {shapes}"))
    assert recipe.methods["Baseline"].lists == {
        "output_stride": (32, "auto"),
        "width": (1, 0.5),
        "stem": ("standard", "small"),
    }
    assert dict(recipe.methods["Baseline"].settings) == {}


def test_defaults_are_the_papers(tmp_path):
    """Test split, 10,000 draws, one seed."""
    recipe = load(tmp_path, SMALL)
    assert (recipe.evaluate.splits, recipe.evaluate.iterations, recipe.seeds) == (("test",), 10_000, (0,))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("title: Small", "titel: Small", "titel: no such key"),
        ("title: Small", "", "title: is missing"),
        ("settings: {epochs: 3}", "settings: {epohcs: 3}", "did you mean 'epochs'?"),
        ("settings: {epochs: 3}", "settings: {seed: 3}", "'seed' cannot be set here"),
        (
            "train_on: aux1",
            "trainon: aux1",
            "methods.KD.trainon: no phase has a setting 'trainon'; did you mean",
        ),
        ("phase: baseline", "phase: base", "methods.Baseline.phase: "),
        ("phase: baseline", "phase: baseline, resize: maxpool", "baseline has no setting resize"),
        ("phase: baseline", "phase: baseline, resize: [maxpool]", "baseline has no setting resize"),
        (
            "phase: baseline",
            "phase: baseline, width: [1, 0.3]",
            "methods.Baseline.width.1: channels are 1, 0.5 or",
        ),
        ("phase: baseline", "phase: baseline, output_stride: [8, 12]", "methods.Baseline.output_stride.1: "),
        ("phase: baseline", "phase: baseline, stem: [small, small]", "stem: something is there twice"),
        ("phase: baseline", "phase: baseline, width: []", "methods.Baseline.width: "),
        (
            "phase: baseline",
            "phase: finetune, student: KD, width: [1, 0.5]",
            "finetune has no setting width",
        ),
        ("phase: baseline", "phase: baseline, student: KD", "needed by finetune, and by nothing else"),
        ("phase: baseline", "phase: finetune", "needed by finetune"),
        ("phase: baseline", "phase: baseline, settings: {lr: 1}", "without 'settings:'"),
        ("seed: 0,", "run: runs/t,", "leave the other keys out"),
        ("[5, 2.5]", "[5, 5]", "magnifications: something is there twice"),
        ("[5, 2.5]", "[5, -1]", "magnifications.1: "),
        (
            "phase: baseline",
            "phase: baseline, magnifications: [5, 5]",
            "methods.Baseline.magnifications: some",
        ),
        (
            "title: Small",
            "title: Small\nevaluate: {splits: [val, val]}",
            "evaluate.splits: something is there",
        ),
        (
            "title: Small",
            "title: Small\nevaluate: {split: val}",
            "no such key; evaluate has splits, unit, iter",
        ),
        ("title: Small", "title: Small\nseeds: [9223372036854775808]", "seeds.0: Input should be less than"),
        ("seed: 0,", "sead: 0,", "teacher.sead: no phase has a setting 'sead'; did you mean 'seed'?"),
        ("phase: baseline", "phase: finetune, students: KD", "did you mean 'student'?"),
        ("settings: {epochs: 3}", "settings: {tensorboard: false}", "'logger' now: tensorboard, the def"),
        ("phase: baseline", "phase: baseline, wandb: lungs", "the project's name as 'log_project'"),
        ("Baseline:", f"{'B' * 101}:", "at most 100 characters"),
        ("  KD:", "  Baseline:", "the key 'Baseline' is there twice"),
        ("title: Small", "title: [", "is not YAML"),
        ("title: Small", "title: Small\npaper: {KD: {low: {accuracy: '1'}}}", "'low' is no magnification"),
        ("title: Small", "title: Small\npaper: {KD: {5: {acuracy: '1'}}}", "paper.KD.5.acuracy"),
    ],
)
def test_a_mistake_is_named_by_its_key(tmp_path, old, new, said):
    """The message holds the file and the path of the key."""
    assert old in SMALL
    with pytest.raises(UsageError) as raised:
        load(tmp_path, SMALL.replace(old, new))
    assert said in str(raised.value)
    assert "recipe.yaml" in str(raised.value)


def test_a_method_may_take_over_another_ones_keys(tmp_path):
    """YAML's '<<' gives what is not said anew, and is no key that is there twice."""
    merged = (
        SMALL.replace("KD: {phase: distill", "KD: &kd {phase: distill") + "  Slow: {<<: *kd, lr: 0.0001}\n"
    )
    methods = load(tmp_path, merged).methods
    assert dict(methods["Slow"].settings) == {"train_on": "aux1", "resize": "maxpool", "lr": 0.0001}
    assert "lr" not in methods["KD"].settings


def test_a_missing_recipe_is_said(tmp_path):
    """A path without a file is refused."""
    with pytest.raises(UsageError, match="cannot be read"):
        load_recipe(tmp_path / "none.yaml")


def test_paper_numbers_are_keyed_by_magnification_however_it_is_written(tmp_path):
    """YAML reads 1.250 as a number; the key is 1.25."""
    recipe = load(tmp_path, SMALL + "paper: {KD: {1.250: {accuracy: '84.03 (82.61-85.47)'}}}")
    assert recipe.paper["KD"]["1.25"]["accuracy"] == "84.03 (82.61-85.47)"
