"""Settings: where they come from, and what is refused with which words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from slideprep.building.config import BuildConfig, load_config
from slideprep.errors import UsageError

GIVEN: dict[str, Any] = {"slides": ("a.svs",), "out": Path("out")}


def _yaml(folder: Path, text: str) -> Path:
    path = folder / "build.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_defaults_are_the_papers() -> None:
    """Five magnifications from 10x to 0.625x, 70/15/15, relative to the objective."""
    config = load_config(GIVEN, None)
    assert config.magnifications == (10.0, 5.0, 2.5, 1.25, 0.625)
    assert config.split == (0.7, 0.15, 0.15)
    assert config.magnification_by == "objective"


def test_options_win_over_yaml_and_yaml_over_defaults(tmp_path: Path) -> None:
    """A setting given twice counts as on the command line; one given in the file alone counts as there."""
    path = _yaml(tmp_path, "seed: 1\nquality: 80\nshard-mb: 7\n")
    config = load_config({**GIVEN, "seed": 2}, path)
    assert (config.seed, config.quality, config.shard_mb, config.tissue) == (2, 80, 7, "auto")


@pytest.mark.parametrize("text", ["magnifications: [1.25, 10]", 'magnifications: "10, 1.25"'])
def test_lists_may_be_yaml_lists_or_written_with_commas(tmp_path: Path, text: str) -> None:
    """Both ways of writing give the same magnifications, highest first."""
    assert load_config(GIVEN, _yaml(tmp_path, text)).magnifications == (10.0, 1.25)


def test_a_single_magnification_and_an_empty_file_are_fine(tmp_path: Path) -> None:
    """'magnifications: 5' is a list of one, and a file of comments sets nothing."""
    assert load_config(GIVEN, _yaml(tmp_path, "magnifications: 5")).magnifications == (5.0,)
    assert load_config(GIVEN, _yaml(tmp_path, "# nothing yet\n")) == load_config(GIVEN, None)


REFUSALS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "no slides": ({"slides": None}, ["--slides", "None"]),
    "upside down quality": ({"quality": 101}, ["--quality", "100", "101"]),
    "unknown tissue": ({"tissue": "magic"}, ["--tissue", "'annotations'", "'magic'"]),
    "no number": ({"seed": "x"}, ["--seed", "whole number", "'x'"]),
    "negative workers": ({"workers": -1}, ["--workers", "-1"]),
    "infinite sigma": ({"tissueloc_sigma": float("inf")}, ["--tissueloc-sigma", "finite"]),
    "no magnification": ({"magnifications": ""}, ["--magnifications", "such as 10,1.25"]),
    "magnification twice": ({"magnifications": "10,10"}, ["--magnifications", "twice"]),
    "magnification 0": ({"magnifications": "10,0"}, ["--magnifications", "between 0 and 200"]),
    "too many digits": ({"magnifications": "1.2345678"}, ["--magnifications", "six digits"]),
    "no grid": ({"magnifications": "10,7.77"}, ["--magnifications", "simple ratios"]),
    "annotations without folder": ({"tissue": "annotations"}, ["--annotations FOLDER"]),
    "folder without annotations": ({"annotations": Path("a")}, ["--tissue annotations", "--tissue auto"]),
    "exclude without annotations": ({"exclude_classes": ("Benign",)}, ["--exclude-class", "--annotations"]),
    "mask without annotations": ({"mask_outside": True}, ["--mask-outside", "--tissue annotations"]),
    "masks inside the set": ({"save_masks": Path("out/masks")}, ["--save-masks", "inside --out", "another"]),
    "regions inside the set": ({"save_regions": Path("out")}, ["--save-regions", "inside --out"]),
    "mapping inside the set": ({"pseudonymise": Path("out/../out/map.csv")}, ["--pseudonymise", "outside"]),
    "two splits": ({"split": "0.8,0.2"}, ["--split 0.8,0.2", "2 values", "with 0 for a split"]),
    "split beyond 1": ({"split": "0.8,0.8,0.8"}, ["--split"]),
    "shrinking aux": ({"aux": "300,200"}, ["--aux 300,200", "300,1004"]),
    "no patients": ({"labelled_per_class": 0}, ["--labelled-per-class 0", "1 or more"]),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_refusal_names_the_option_and_what_to_do(case: str) -> None:
    """Wrong values and combinations are usage errors whose message names option, value or remedy."""
    changes, words = REFUSALS[case]
    with pytest.raises(UsageError) as refusal:
        load_config({**GIVEN, **changes}, None)
    assert [word for word in words if word not in str(refusal.value)] == []


def test_missing_slides_and_out_are_asked_for() -> None:
    """What has no default is named, both at once."""
    with pytest.raises(UsageError, match=r"slides is missing: .*; out is missing: give --out DIR"):
        load_config({}, None)


def test_an_unknown_key_suggests_the_one_meant(tmp_path: Path) -> None:
    """A typing error is refused, not ignored; the nearest setting and all settings are named."""
    with pytest.raises(
        UsageError, match=r"'magnification' is no setting.*did you mean 'magnification.*; its .*seed"
    ):
        load_config(GIVEN, _yaml(tmp_path, "magnification: 10"))
    with pytest.raises(
        UsageError, match=r"'zzz' is no setting of build-shards; its settings are annotations"
    ):
        load_config(GIVEN, _yaml(tmp_path, "zzz: 10"))


NO_NUMBERS = {
    "underscore": "mpp: 0_5",
    "quoted underscore": 'mpp: "0_5"',
    "octal": "mpp: 010x",
    "hexadecimal": "mpp: 0x10",
    "sexagesimal": "objective: 1:30",
    "infinity": "mpp: .inf",
    "not a number": "slide_minutes: .nan",
    "as words": "split: inf,0,0",
    "in a list": "magnifications: [1_0, 5]",
    "in a text": 'magnifications: "1_0,5"',
    "full width": "mpp: \uff11",
    "whole with underscore": "aux: [3_00, 1004]",
    "a truth": "workers: true",
}


@pytest.mark.parametrize("case", NO_NUMBERS)
def test_a_file_holds_numbers_as_people_write_them(case: str, tmp_path: Path) -> None:
    """YAML would make 5 of 0_5 and 90 of 1:30; such a value is refused by the name of its setting."""
    name = NO_NUMBERS[case].partition(":")[0].replace("_", "-")
    with pytest.raises(UsageError, match=rf"--{name}: .* is not a (whole )?number"):
        load_config(GIVEN, _yaml(tmp_path, NO_NUMBERS[case]))


def test_numbers_of_a_file_are_taken(tmp_path: Path) -> None:
    """Whole ones, decimals, exponents, signs, in lists and in texts."""
    text = "mpp: 2.5e-1\nseed: -3\nmagnifications: [10, '5', 1.25]\nsplit: 0.5, .25, 25e-2\nworkers: 0\n"
    config = load_config(GIVEN, _yaml(tmp_path, text))
    assert (config.mpp, config.seed, config.workers) == (0.25, -3, 0)
    assert config.magnifications == (10.0, 5.0, 1.25)
    assert config.split == (0.5, 0.25, 0.25)


BEYOND = {
    "seed": 2**63,
    "workers": -1,
    "slide_minutes": "1e308",
    "scratch_gb": "1e300",
    "tissueloc_sigma": "1e9",
    "tissueloc_min_px": 10**12,
    "tissueloc_level_px": 0,
    "mpp": 0,
    "objective": -20,
    "quality": 101,
    "shard_mb": 0,
    "tissueloc_threshold": 1,
    "min_focus": -0.1,
    "max_ink": 1.5,
    "max_folds": -1,
    "max_bubbles": 30,
}


@pytest.mark.parametrize("setting", BEYOND)
def test_a_value_beyond_its_range_is_refused_with_the_range(setting: str) -> None:
    """Nothing negative, nothing that no program could hold; the option, the limit and the value are named."""
    with pytest.raises(UsageError, match=rf"--{setting.replace('_', '-')}: Input should be .* than .*given"):
        load_config({**GIVEN, setting: BEYOND[setting]}, None)


def test_a_class_that_no_label_can_have_is_refused() -> None:
    """A name that is no UTF-8 would end the build at its index."""
    with pytest.raises(UsageError, match=r"--classes: 'latin\\xe9' holds what cannot be shown"):
        load_config({**GIVEN, "classes": ("a", "latin\udce9")}, None)


@pytest.mark.parametrize(
    ("text", "words"), [("[" * 3_000, "is nested too deeply"), ("seed: 2021-99-99", "holds a value")]
)
def test_a_file_that_yaml_stumbles_over_is_refused(tmp_path: Path, text: str, words: str) -> None:
    """Twenty thousand brackets and a date that there is not end in a sentence."""
    with pytest.raises(UsageError, match=rf"--config .*build\.yaml {words}"):
        load_config(GIVEN, _yaml(tmp_path, text))


def test_references_that_grow_without_bound_are_refused(tmp_path: Path) -> None:
    """Ten lists that each hold the one before ten times: the message shows the beginning alone."""
    lines = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    with pytest.raises(UsageError) as refusal:
        load_config(GIVEN, _yaml(tmp_path, "\n".join([*lines, "classes: *a9"])))
    assert len(str(refusal.value)) < 10_000


@pytest.mark.parametrize(
    ("text", "words"),
    [("- a\n- b\n", "must map settings to values"), ("a: [1", "is not YAML"), ("\x00", "is not YAML")],
)
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str, words: str) -> None:
    """A YAML list, broken YAML and binary data are refused by the file's name."""
    with pytest.raises(UsageError, match=rf"--config .*build\.yaml {words}"):
        load_config(GIVEN, _yaml(tmp_path, text))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    """--config of a file that is not there is a usage error."""
    with pytest.raises(UsageError, match=r"--config .* cannot be read"):
        load_config(GIVEN, tmp_path / "none.yaml")


def test_the_record_holds_no_path() -> None:
    """index.json keeps what decides the bytes; paths and the number of workers say more about a machine."""
    one = load_config({**GIVEN, "workers": 1, "labels": Path("a.csv")}, None)
    two = load_config({**GIVEN, "workers": 5, "labels": Path("b.csv"), "out": Path("elsewhere")}, None)
    assert one.record == two.record
    paths = "slides out labels annotations save_masks save_regions pseudonymise scratch"
    machine = "workers ray_address start_seconds slide_minutes scratch_gb patients_differ"
    unasked = "min_focus max_ink max_folds max_bubbles"
    left = {*paths.split(), *machine.split(), *unasked.split()}
    assert set(one.record) == set(BuildConfig.model_fields) - left
    assert not [value for value in one.record.values() if isinstance(value, Path)]


def test_limits_are_in_the_record_where_they_are_asked_for() -> None:
    """A set without limits has the record of a version that knew none; one with a limit says it."""
    names = {"min_focus", "max_ink", "max_folds", "max_bubbles"}
    assert not names & load_config(GIVEN, None).record.keys()
    record = load_config({**GIVEN, "max_ink": "0.2"}, None).record
    assert {name: record[name] for name in names & record.keys()} == {"max_ink": 0.2}


def test_a_configuration_cannot_be_changed() -> None:
    """Settings are frozen once checked."""
    config = load_config(GIVEN, None)
    with pytest.raises(ValidationError, match="frozen"):
        config.seed = 3


def test_png_has_no_quality() -> None:
    """Quality is recorded for JPEG and WebP, and not for PNG, which loses nothing."""
    assert load_config({**GIVEN, "image_format": "png"}, None).encoded_quality is None
    assert load_config({**GIVEN, "image_format": "webp", "quality": 80}, None).encoded_quality == 80


def test_a_configuration_at_an_address_is_refused() -> None:
    """It has to be a file on this machine, and that is said."""
    with pytest.raises(UsageError, match=r"--config s3:/+bucket/settings.yaml is an address"):
        load_config({"out": "out"}, Path("s3://bucket/settings.yaml"))
