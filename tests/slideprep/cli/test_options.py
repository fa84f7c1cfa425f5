"""Options out of the configuration: every setting is one, says what it is, and reaches its field."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest

from fixtures.commands import invoked
from slideprep.building.config import BuildConfig
from slideprep.cli import main as commands
from slideprep.cli.options import build_parameters, field_sentences
from slideprep.storage.places import Url

GIVEN: dict[str, tuple[list[str], Any]] = {
    "slides": (["a.svs", "s3://bucket/b.svs"], ("a.svs", "s3://bucket/b.svs")),
    "out": (["--out", "s3://bucket/set"], Url("s3://bucket/set")),
    "labels": (["--labels", "l.csv"], Path("l.csv")),
    "magnifications": (["--magnifications", "1.25, 10"], (10.0, 1.25)),
    "magnification_by": (["--magnification-by", "mpp"], "mpp"),
    "objective": (["--objective", "40"], 40.0),
    "mpp": (["--mpp", "0.25"], 0.25),
    "tissue": (["--tissue", "annotations"], "annotations"),
    "tissueloc_sigma": (["--tissueloc-sigma", "2.5"], 2.5),
    "tissueloc_threshold": (["--tissueloc-threshold", "0.7"], 0.7),
    "tissueloc_min_px": (["--tissueloc-min-px", "7"], 7),
    "tissueloc_level_px": (["--tissueloc-level-px", "1024"], 1024),
    "annotations": (["--annotations", "drawn"], Path("drawn")),
    "exclude_classes": (["--exclude-class", "A,1", "--exclude-class", "B"], ("A,1", "B")),
    "mask_outside": (["--mask-outside"], True),
    "classes": (["--classes", "b, a"], ("b", "a")),
    "split": (["--split", "2,0,1"], (2.0, 0.0, 1.0)),
    "labelled_per_class": (["--labelled-per-class", "5"], 5),
    "dev_per_class": (["--dev-per-class", "1"], 1),
    "aux": (["--aux", "300,1004"], (300, 1004)),
    "patients_differ": (["--patients-differ"], True),
    "seed": (["--seed", "3"], 3),
    "image_format": (["--image-format", "webp"], "webp"),
    "quality": (["--quality", "80"], 80),
    "min_focus": (["--min-focus", "0.3"], 0.3),
    "max_ink": (["--max-ink", "0.2"], 0.2),
    "max_folds": (["--max-folds", "0.25"], 0.25),
    "max_bubbles": (["--max-bubbles", "0"], 0.0),
    "shard_mb": (["--shard-mb", "9"], 9),
    "save_masks": (["--save-masks", "masks"], Path("masks")),
    "save_regions": (["--save-regions", "regions"], Path("regions")),
    "pseudonymise": (["--pseudonymise", "names.csv"], Path("names.csv")),
    "workers": (["--workers", "2"], 2),
    "ray_address": (["--ray-address", "auto"], "auto"),
    "start_seconds": (["--start-seconds", "600"], 600.0),
    "slide_minutes": (["--slide-minutes", "0.5"], 0.5),
    "scratch": (["--scratch", "tmp"], Path("tmp")),
    "scratch_gb": (["--scratch-gb", "4"], 4.0),
}
"""What is given of each setting, and the value that the build sees."""


def test_every_setting_reaches_its_field(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each field of the configuration can be given on the command line, and has the value that was given."""
    seen: list[BuildConfig] = []
    monkeypatch.setattr(commands, "_build", seen.append)
    arguments = [word for words, _ in GIVEN.values() for word in words]
    assert invoked(commands.main, "build-shards", *arguments).exit_code == 0
    assert dict(seen[0]) == {name: value for name, (_, value) in GIVEN.items()}
    assert set(GIVEN) == set(BuildConfig.model_fields)


@pytest.mark.parametrize("with_out", [True, False])
def test_parameters_are_the_settings_and_the_file(with_out: bool) -> None:
    """Only --config is no setting, and only a dry run has no --out."""
    names = [parameter.name for parameter in build_parameters(with_out=with_out)]
    assert sorted(names) == sorted(
        {*BuildConfig.model_fields, "config_file"} - ({"out"} if not with_out else set())
    )


def test_help_is_the_first_sentence_and_the_default() -> None:
    """Docstrings describe the fields that there are; help shows defaults, and what stands in where there is none."""
    sentences = field_sentences()
    assert set(sentences) == set(BuildConfig.model_fields)
    shown = {p.name: p.help for p in build_parameters(with_out=True) if isinstance(p, click.Option)}
    assert shown["magnifications"] == "Targets, such as 10,1.25.  [default: 10,5,2.5,1.25,0.625]"
    assert shown["tissueloc_min_px"] == "tissueloc: smallest component, overview pixels.  [default: 10000]"
    assert shown["seed"] == "Seed of every random choice.  [default: 0]"
    assert shown["workers"] == "Worker processes; 0 for none.  [default: one per core]"
    assert shown["mask_outside"] == "Blank what lies outside an annotation."
    assert shown["aux"] == "Patients in nested unlabelled sets, such as 300,1004."


COMMANDS = sorted(commands.main.commands)


def _numbers(command: str) -> list[tuple[str, int]]:
    """Options of a command that take numbers, and how many."""
    with click.Context(commands.main.commands[command]) as context:
        parameters = commands.main.commands[command].get_params(context)
    of_config = {"split": 3, "magnifications": 1, "aux": 1}  # texts until the configuration takes them apart
    found = []
    for parameter in parameters:
        kinds = getattr(parameter.type, "types", [parameter.type])
        if parameter.name in of_config:
            found.append((parameter.opts[0], of_config[parameter.name]))
        elif all(kind.name in ("float", "integer") for kind in kinds):
            found.append((parameter.opts[0], len(kinds)))
    return found


@pytest.mark.parametrize(
    "value", ["0_5", "nan", "inf", "-1", "1e400", "\uff11", "99999999999999999999", "0x10", ""]
)
@pytest.mark.parametrize("command", COMMANDS)
def test_no_option_takes_what_is_no_sensible_number(command: str, value: str, tmp_path: Path) -> None:
    """Every option that takes numbers refuses it by name, before any work."""
    alone = command in ("inspect", "relabel", "synthesize", "verify")
    given = [tmp_path] if alone else [tmp_path, tmp_path / "a"]
    out = ["--out", tmp_path / "out"] if command == "build-shards" else []
    for option, number in _numbers(command):
        if option == "--seed" and value == "-1" and command != "synthesize":
            continue  # a seed of a build may be any number of 64 bits
        values = [",".join([value] * number)] if option == "--split" else [value] * number
        if option in ("--aux", "--magnifications") and value == "":
            continue  # none
        result = invoked(commands.main, command, *given, *out, option, *values)
        assert result.exit_code == 2, (option, result.output)
        assert option in result.output, (option, result.output)
    assert list(tmp_path.iterdir()) == []
