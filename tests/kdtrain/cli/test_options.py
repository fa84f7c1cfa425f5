"""Options out of configurations: every field is one, with its sentence and its default."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from kdtrain.cli.main import main
from kdtrain.cli.options import config_options, field_sentences
from kdtrain.config.phases import (
    BaselineConfig,
    CacheTeacherConfig,
    DistillConfig,
    FinetuneConfig,
    TeacherConfig,
    option_of,
)

KINDS = (TeacherConfig, BaselineConfig, DistillConfig, FinetuneConfig, CacheTeacherConfig)


def help_of(phase: str) -> str:
    """What --help says, on one line."""
    result = CliRunner().invoke(main, [phase, "--help"], catch_exceptions=False, terminal_width=110)
    assert result.exit_code == 0
    return " ".join(result.output.split())


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_is_an_option_with_its_sentence_and_default(kind):
    """--help shows, for each field, its option, its documented sentence and its default or that it is required."""
    shown = help_of(kind.phase)
    sentences = field_sentences(kind)
    for name, field in kind.model_fields.items():
        assert option_of(name) in shown
        assert len(sentences[name]) > 5
        assert sentences[name] in shown
        if field.is_required():
            assert f"{sentences[name]} [required]" in shown
        elif field.default is not None:
            default = (
                ",".join(map(str, field.default)) if isinstance(field.default, tuple) else str(field.default)
            )
            assert f"{sentences[name]} [default: {default}]" in shown


@pytest.mark.parametrize("kind", KINDS)
def test_no_sentence_is_of_a_field_that_is_gone(kind):
    """The docstrings describe the fields that there are, and no others."""
    assert set(field_sentences(kind)) == set(kind.model_fields)


def test_a_subclass_may_say_more_of_a_field():
    """Distillation's own sentence on select_by stands in for the general one."""
    assert field_sentences(DistillConfig)["select_by"].startswith("Always the distillation loss")
    assert field_sentences(TeacherConfig)["select_by"].startswith("What is best")


def test_only_what_was_given_is_passed_on():
    """Options that are left out stay None, so that a file's values are not overruled by defaults."""
    seen = {}

    @click.command()
    @config_options(TeacherConfig)
    def command(config_file, **options):
        seen.update({name: value for name, value in options.items() if value is not None})

    arguments = [
        "--shards",
        "set",
        "--no-augment",
        "--output-stride",
        "16",
        "--lr",
        "0.01",
        "--train-on",
        "a,b",
    ]
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert {name: str(value) for name, value in seen.items()} == {
        "shards": "set",
        "augment": "False",
        "output_stride": "16",
        "lr": "0.01",
        "train_on": "a,b",
    }
