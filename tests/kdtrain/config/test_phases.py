"""Settings of a run: the command line over a YAML file over the paper's numbers, refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdtrain.config.phases import (
    NOT_IN_RECORD,
    BaselineConfig,
    CacheTeacherConfig,
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
    """Teacher: resnet10 at 10x, Adam 1e-3, weight decay 1e-4, 32 samples a step, 100 epochs, jitter .5 .5 .5 .2.

    The output stride fits the images: for the paper's large tissues, its 32.
    """
    config = teacher()
    assert (config.model, config.magnification, config.output_stride) == ("resnet10", 10, "auto")
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
        ({"epochs": 0}, r"--epochs: must be a whole number from 1 to 1,000,000 \(given: 0\)"),
        ({"lr": "fast"}, r"--lr: .*number.*\(given: 'fast'\)"),
        ({"lr": -1.0}, r"--lr: must be a number above 0 \(given: -1.0\)"),
        ({"output_stride": 2}, r"--output-stride: .*32, 16, 8 or 4"),
        ({"model": "resnet9"}, r"--model: .*resnet10.*\(given: 'resnet9'\)"),
        ({"jitter": "0.5,0.5"}, r"--jitter: must be 4 numbers: of brightness.*\(given: '0.5,0.5'\)"),
        ({"jitter": "0,0,0,0.6"}, r"--jitter: strengths are 0 or more and 10 at most, and that of hue.* 0.5"),
        ({"train_on": ","}, r"--train-on: .*at least 1 item"),
        ({"epochz": 3}, r"'epochz' is no setting of teacher; its settings are .*epochs.*weight_decay"),
    ],
)
def test_a_refused_value_is_named_with_what_was_given(options, message):
    """The message names the option as it is written, the rule, and the value."""
    with pytest.raises(UsageError, match=message):
        teacher(**options)


GIVEN = {
    **REQUIRED,
    "magnification": 5.0,
    "teacher": Path("t"),
    "student": Path("s"),
}
UNBOUNDED = ("lr", "gradient_clipping")
"""Numbers that are finite, and whose use a run may have for any size."""
NUMBERS = [
    (kind, name)
    for kind in (*KINDS, CacheTeacherConfig)
    for name, field in kind.model_fields.items()
    if field.annotation in (int, float, int | None, float | None)
]
NO_NUMBERS = [
    *(float(text) for text in ("nan", "inf", "-inf")),
    *(-1, -0.5, 1e300, 10**30, "", "many", "1_0", "0x10", True, None, [1]),
]


def loaded(kind, **options: object):
    """Settings of a phase, with what it cannot do without."""
    needed = {name: value for name, value in GIVEN.items() if name in kind.model_fields}
    return load_config(kind, {**needed, **options}, None)


@pytest.mark.parametrize(
    ("given", "loggers"),
    [
        ("wandb", ("wandb",)),
        ("mlflow, tensorboard,mlflow", ("tensorboard", "mlflow")),
        (["mlflow"], ("mlflow",)),
        ("none", ()),
        ([], ()),
        ("none,wandb", ("wandb",)),
        ("wandb,none", ()),
    ],
)
def test_loggers_are_named_with_commas_or_as_a_list(given, loggers):
    """Each once; "none" takes back those before it."""
    assert teacher(logger=given).logger == loggers
    assert teacher().logger == ("tensorboard",)


@pytest.mark.parametrize("given", ["", ",", "wandb,tensorbord", "WandB", 1, True, [1], {"wandb": 1}])
def test_no_logger_passes_that_is_none(given):
    """The message lists those that there are."""
    with pytest.raises(UsageError, match=r"--logger: must be among tensorboard, wandb, mlflow, .* or none"):
        teacher(logger=given)


@pytest.mark.parametrize("given", ["", "a b", "a/b", "ü", "x" * 101, 7])
def test_a_project_has_a_name_that_every_logger_takes(given):
    """Letters, digits, '.', '_' and '-'."""
    with pytest.raises(UsageError, match=r"--log-project: must be 1 to 100 of the letters"):
        teacher(log_project=given)


def test_another_logger_is_no_other_run():
    """Where numbers go is not what decides the weights."""
    assert teacher(logger="wandb", log_project="lungs").record == teacher(logger="none").record


def test_all_numbers_are_tried():
    """Seeds, rates, weights, sizes and counts of five commands."""
    assert {name for _, name in NUMBERS} == {
        *(
            "accumulate",
            "checkpoint_every",
            "ema",
            "epochs",
            "fold",
            "gradient_clipping",
            "keep",
            "label_weight",
        ),
        *("log_every", "lr", "width"),
        *(
            "magnification",
            "micro_batch",
            "pixel_weight",
            "seed",
            "shard_cache_gb",
            "soft_weight",
            "step_every",
        ),
        *(
            "stain_augmentation",
            "temperature",
            "views",
            "warmup_steps",
            "weight_decay",
            "workers",
            "zero_stage",
        ),
        *("extra_tokens", "missing_share", "overlap_px", "patch_size_level0", "teacher_magnification"),
    }


@pytest.mark.parametrize(("kind", "name"), NUMBERS, ids=lambda part: getattr(part, "phase", part))
def test_no_number_passes_that_is_none_or_absurd(kind, name):
    """Not a number, infinite, below zero, beyond all bounds, another kind: refused with option, range and value."""
    for value in NO_NUMBERS:
        if name in UNBOUNDED and value in (1e300, 10**30):
            continue
        if value is None and kind.model_fields[name].default is None:
            continue
        with pytest.raises(UsageError) as caught:
            loaded(kind, **{name: value})
        said = str(caught.value)
        assert said.startswith(f"--{name.replace('_', '-')}: must be a"), value
        assert f"(given: {value!r})" in said


@pytest.mark.parametrize(
    ("kind", "name", "value", "words"),
    [
        (TeacherConfig, "seed", 2**63, "must be a whole number from 0 to below 9,223,372,036,854,775,808"),
        (TeacherConfig, "magnification", 0, "must be a number above 0 to 1,000"),
        (TeacherConfig, "zero_stage", 3, "must be a whole number from 0 to 2"),
        (TeacherConfig, "micro_batch", -1, "must be a whole number from 0 to 10,000"),
        (CacheTeacherConfig, "micro_batch", 0, "must be a whole number from 1 to 10,000"),
        (DistillConfig, "temperature", 0, "must be a number from 0.01 to 1,000"),
        (DistillConfig, "views", 1001, "must be a whole number from 0 to 1,000"),
        (CacheTeacherConfig, "views", 0, "must be a whole number from 1 to 1,000"),
        (CacheTeacherConfig, "overlap_px", 32_769, "must be a whole number from 0 to 32,768"),
        (CacheTeacherConfig, "extra_tokens", -1, "must be a whole number from 0 to 10,000"),
        (TeacherConfig, "fold", 0, "must be a whole number from 1 to 1,000"),
        (TeacherConfig, "fold", True, "must be a whole number from 1 to 1,000"),
        (TeacherConfig, "fold", "1_0", "must be a whole number from 1 to 1,000"),
    ],
)
def test_a_range_is_said_whole(kind, name, value, words):
    """Both ends of it, and which of them are in it."""
    with pytest.raises(UsageError, match=f"^--{name.replace('_', '-')}: {words} "):
        loaded(kind, **{name: value})
    assert loaded(TeacherConfig, seed=2**63 - 1).seed == 2**63 - 1


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        (TeacherConfig, {"micro_batch": 33}, "--accumulate: is fewer samples than the 33 of --micro-batch"),
        (DistillConfig, {"soft_weight": 0, "pixel_weight": 0}, "--pixel-weight: without --soft-weight"),
        (TeacherConfig, {"jitter": "nan,0,0,0"}, "--jitter: .*finite number"),
        (TeacherConfig, {"jitter": "0,inf,0,0"}, "--jitter: "),
    ],
)
def test_numbers_that_do_not_go_together_are_refused(kind, options, words):
    """More at once than in a step, a loss of nothing, strengths that are no numbers."""
    with pytest.raises(UsageError, match=words):
        loaded(kind, **options)


def test_a_value_is_named_as_it_was_written(tmp_path):
    """A key of the file by its key and the file, an option by its dashes, even where the file has it too."""
    file = yaml_file(tmp_path, "weight_decay: -1\nwarmup_steps: -1\n")
    with pytest.raises(UsageError) as caught:
        teacher(file, warmup_steps=-2)
    decay, warmup = str(caught.value).split("; ")
    assert decay == f"weight_decay in {file}: must be a number from 0 to 1,000 (given: -1)"
    assert warmup == "--warmup-steps: must be a whole number from 0 to 1,000,000,000 (given: -2)"


def test_every_problem_is_named_at_once():
    """Two wrong values and a missing one make one message that names all three."""
    with pytest.raises(UsageError, match=r"--out is missing.*--seed.*--epochs"):
        load_config(TeacherConfig, {"shards": Path("set"), "epochs": 0, "seed": -1}, None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epochs: [1", "is not YAML"),
        ("- epochs\n", "must map keys to values"),
        ("epochz: 3\n", "'epochz' is no setting of teacher"),
        ("tensorboard: false\n", "is part of 'logger' now: tensorboard, the default, or none"),
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
    given |= {
        "model": "resnet18",
        "width": 0.5,
        "stem": "small",
        "hint": "cosine",
        "label_weight": 0.1,
        "ema": 0.9,
        "views": 2,
        "keep_views": True,
        "unfreeze": True,
        "stain_normalization": "macenko",
        "stain_augmentation": 0.05,
    }
    config = kind(**{name: value for name, value in given.items() if name in kind.model_fields})
    # Set afterwards, since views of a fold cannot be kept.
    config = config.model_copy(update={"folds": Path("folds.json"), "fold": 1})
    decisive = set(config.record) - {"phase"}
    assert decisive | set(config.other_settings) == set(kind.model_fields)
    assert not decisive & set(config.other_settings)
    assert set(config.other_settings) <= NOT_IN_RECORD | kind.inherited
    assert not [name for name in decisive if isinstance(getattr(config, name), Path)]


def test_settings_that_came_later_are_recorded_where_they_change_something():
    """A run that was begun before there were widths, stems and students of their own model has the same record."""
    config = load_config(DistillConfig, {**REQUIRED, "magnification": 2.5, "teacher": Path("t")}, None)
    assert not {"width", "stem", "model"} & set(config.record)
    assert not {"width", "stem"} & set(teacher().record)
    assert teacher(width=0.5).record["width"] == 0.5
    assert teacher(width=1).record == teacher().record


@pytest.mark.parametrize(("given", "kept"), [("auto", "auto"), ("8", 8), (4, 4)])
def test_an_output_stride_is_a_number_or_auto(given, kept):
    """From a command line, where all is text, as from YAML."""
    assert teacher(output_stride=given).output_stride == kept


def test_a_phase_is_part_of_the_record():
    """A baseline is no teacher, even with the same settings."""
    baseline = load_config(BaselineConfig, {**REQUIRED, "magnification": 10.0}, None)
    assert {**teacher().record, "phase": "baseline"} == baseline.record
    assert teacher().record["phase"] == "teacher"


def from_network(file: Path | None = None, **options: object) -> CacheTeacherConfig:
    """Settings of a cache whose teacher is no run."""
    return load_config(
        CacheTeacherConfig, {**REQUIRED, "from_": "model.onnx", "magnification": 2.5, **options}, file
    )


def test_a_teacher_is_a_run_or_comes_from_elsewhere():
    """Neither and both are refused by name; in a file the key is 'from', as the option is."""
    given = {**REQUIRED, "magnification": 2.5}
    with pytest.raises(UsageError, match=r"--from: there is no teacher; give --teacher RUN, or --from"):
        load_config(CacheTeacherConfig, given, None)
    with pytest.raises(UsageError, match=r"--from: there are two teachers"):
        from_network(teacher=Path("t"))


def test_a_file_names_a_teacher_by_from(tmp_path):
    """YAML's 'from' is the option's name without its dashes; what is no setting is told with it among the others."""
    config = load_config(
        CacheTeacherConfig, {**REQUIRED, "magnification": 5.0}, yaml_file(tmp_path, "from: mine:tokens\n")
    )
    assert config.from_ == "mine:tokens"
    with pytest.raises(
        UsageError, match=r"'form' is no setting of cache-teacher; .*features_output, from, jitter"
    ):
        from_network(yaml_file(tmp_path, "form: mine:tokens\n"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"tile_px": "224", "tile_mean": "0.5,0.5,0.5"}, (224, (0.5, 0.5, 0.5))),
        ({"tile_px": "region"}, ("region", None)),
        ({"tile_px": 0}, ("region", None)),
    ],
)
def test_tiles_are_pixels_or_regions(options, said):
    """A side, or the word for all; three numbers of a colour, as a command line writes them."""
    config = from_network(**options)
    assert (config.tile_px, config.tile_mean) == said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tile_px": "whole"}, r"--tile-px: must be a whole number of pixels from 1 to 32,768, or region"),
        ({"tile_px": "-1"}, r"--tile-px: must be a whole number of pixels"),
        ({"tile_px": 32_769}, r"--tile-px: must be a whole number of pixels"),
        ({"tile_px": True}, r"--tile-px: must be a whole number of pixels"),
        ({"tile_mean": "0.5,0.5"}, r"--tile-mean: must be 3 numbers: of red, green and blue"),
        ({"tile_mean": "nan,0,0"}, r"--tile-mean: "),
        ({"tile_mean": "124,116,104"}, r"--tile-mean: numbers are from 0 to 1, in parts of the brightest"),
        ({"tile_std": "0.2,0,0.2"}, r"--tile-std: numbers are above 0 to 1"),
        ({"tile_range": "0-1000"}, r"--tile-range: .*0-1.*0-255"),
    ],
)
def test_how_a_network_is_asked_is_checked(options, message):
    """Sides, means and deviations that cannot be are refused by name."""
    with pytest.raises(UsageError, match=message):
        from_network(**options)


def test_a_run_is_not_told_how_it_is_asked():
    """Every option of --from beside --teacher is refused, and none that is left as it is."""
    settings = {
        "teacher_magnification": 20.0,
        "slides": Path("slides"),
        "annotations": Path("outlines"),
        "tile_px": 224,
        "overlap_px": 8,
        "tile_mean": (0.5, 0.5, 0.5),
        "tile_std": (0.5, 0.5, 0.5),
        "tile_range": "0-255",
        "features_output": "x",
        "logits_output": "y",
        "extra_tokens": 5,
        "patch_size_level0": 512,
        "patches": Path("patches"),
        "missing_share": 0.1,
    }
    for name, value in settings.items():
        with pytest.raises(
            UsageError, match=f"--{name.replace('_', '-')}: says how a teacher of --from is asked"
        ):
            loaded(CacheTeacherConfig, **{name: value})
        assert getattr(from_network(**{name: value}), name) == value
    assert loaded(CacheTeacherConfig, tile_range="0-1").from_ is None
