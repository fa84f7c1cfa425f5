"""Settings of a run: the command line over a YAML file over the paper's numbers, refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdtrain.config.phases import (
    NOT_IN_RECORD,
    BaselineConfig,
    DistillConfig,
    FinetuneConfig,
    TeacherConfig,
    load_config,
)
from kdtrain.errors import UsageError

KINDS = (TeacherConfig, BaselineConfig, DistillConfig, FinetuneConfig)
REQUIRED = {"shards": Path("set"), "out": Path("run")}


def teacher(file: Path | None = None, **options: object) -> TeacherConfig:
    """A teacher's settings."""
    return load_config(TeacherConfig, {**REQUIRED, **options}, file)


def yaml_file(folder: Path, text: str) -> Path:
    """A file for --config."""
    path = folder / "settings.yaml"
    path.write_text(text)
    return path


def test_the_papers_numbers_are_the_defaults():
    """Teacher: resnet10 at 10x, Adam 1e-3, weight decay 1e-4, 32 samples a step, 100 epochs, jitter .5 .5 .5 .2."""
    config = teacher()
    assert (config.model, config.magnification, config.output_stride) == ("resnet10", 10, 32)
    assert (config.lr, config.weight_decay, config.accumulate, config.epochs) == (1e-3, 1e-4, 32, 100)
    assert config.jitter == (0.5, 0.5, 0.5, 0.2)
    distill = load_config(DistillConfig, {**REQUIRED, "teacher": Path("t"), "magnification": 1.25}, None)
    assert (distill.resize, distill.temperature, distill.start_from) == ("maxpool+bicubic", 1, "random")
    assert distill.select_by == "loss"


def test_the_command_line_wins_over_the_file_and_the_file_over_the_defaults(tmp_path):
    """Epochs come from the command line, the learning rate from the file, the seed from nowhere."""
    file = yaml_file(tmp_path, "epochs: 7\nlr: 1e-2\ntrain-on: train, aux1\njitter: [0, 0.1, 0.2, 0.3]\n")
    config = teacher(file, epochs=3)
    assert (config.epochs, config.lr, config.seed) == (3, 0.01, 0)
    assert config.train_on == ("train", "aux1")
    assert config.jitter == (0, 0.1, 0.2, 0.3)


def test_an_empty_file_changes_nothing(tmp_path):
    """A --config without a line is the defaults."""
    assert teacher(yaml_file(tmp_path, "")) == teacher()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, r"--epochs: .*greater than or equal to 1 \(given: 0\)"),
        ({"lr": "fast"}, r"--lr: .*number.*\(given: 'fast'\)"),
        ({"lr": -1.0}, r"--lr: .*greater than 0"),
        ({"output_stride": 4}, r"--output-stride: .*32, 16 or 8"),
        ({"model": "resnet9"}, r"--model: .*resnet10.*\(given: 'resnet9'\)"),
        ({"jitter": "0.5,0.5"}, r"--jitter: must be 4 numbers: of brightness.*\(given: '0.5,0.5'\)"),
        ({"jitter": "0,0,0,0.6"}, r"--jitter: strengths are 0 or more, and that of hue.* 0.5 at most"),
        ({"train_on": ","}, r"--train-on: .*at least 1 item"),
        ({"epochz": 3}, r"'epochz' is no setting of teacher; its settings are .*epochs.*weight_decay"),
    ],
)
def test_a_refused_value_is_named_with_what_was_given(options, message):
    """The message names the option as it is written, the rule, and the value."""
    with pytest.raises(UsageError, match=message):
        teacher(**options)


def test_every_problem_is_named_at_once():
    """Two wrong values and a missing one make one message that names all three."""
    with pytest.raises(UsageError, match=r"--out is missing.*--seed.*--epochs"):
        load_config(TeacherConfig, {"shards": Path("set"), "epochs": 0, "seed": -1}, None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epochs: [1", "is not YAML"),
        ("- epochs\n", "must map settings to values"),
        ("epochz: 3\n", "'epochz' is no setting of teacher"),
        ("!!python/object/apply:os.getcwd []", "is not YAML"),
    ],
)
def test_a_file_that_cannot_serve_is_refused(tmp_path, text, message):
    """Broken YAML, a list, an unknown key and a tag that would run code are usage errors."""
    with pytest.raises(UsageError, match=message):
        teacher(yaml_file(tmp_path, text))


def test_a_missing_file_is_refused(tmp_path):
    """The message names --config and the file."""
    with pytest.raises(UsageError, match=r"--config .*absent\.yaml cannot be read"):
        teacher(tmp_path / "absent.yaml")


def test_settings_are_frozen():
    """A run's settings cannot change under it."""
    with pytest.raises(ValueError, match="frozen"):
        teacher().epochs = 3


@pytest.mark.parametrize("kind", KINDS)
def test_a_record_holds_every_setting_once(kind):
    """What decides the weights and what does not are all settings, without overlap; no path decides a weight."""
    given = {**REQUIRED, "magnification": 5.0, "teacher": Path("t"), "student": Path("s")}
    config = kind(**{name: value for name, value in given.items() if name in kind.model_fields})
    decisive = set(config.record) - {"phase"}
    assert decisive | set(config.other_settings) == set(kind.model_fields)
    assert not decisive & set(config.other_settings)
    assert set(config.other_settings) <= NOT_IN_RECORD
    assert not [name for name in decisive if isinstance(getattr(config, name), Path)]


def test_a_phase_is_part_of_the_record():
    """A baseline is no teacher, even with the same settings."""
    baseline = load_config(BaselineConfig, {**REQUIRED, "magnification": 10.0}, None)
    assert {**teacher().record, "phase": "baseline"} == baseline.record
    assert teacher().record["phase"] == "teacher"
