"""YAML files: plain values, each key once, or one sentence; whatever a parser can be led into by few bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdtrain.config.phases import TeacherConfig, load_config
from kdtrain.config.yaml_files import yaml_mapping
from kdtrain.errors import UsageError
from kdtrain.sweep.recipe import load_recipe

LAUGHS = "a: &a [ha,ha,ha,ha,ha,ha,ha,ha,ha,ha]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 10)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
"""A billion values in 500 bytes, the "billion laughs"."""


def read(folder: Path, content: str | bytes) -> dict[str, object]:
    """The values of a file with this content."""
    path = folder / "run.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return yaml_mapping(path, "--config run.yaml")


@pytest.mark.parametrize(
    ("content", "values"),
    [
        ("", {}),
        (
            "lr: 1e-3\n",
            {"lr": "1e-3"},
        ),  # YAML 1.1: a number has a point; pydantic reads it as one all the same
        ("lr: 0.001", {"lr": 0.001}),
        (b"\xef\xbb\xbfseed: 1", {"seed": 1}),
        ("b: &b {x: 1}\na: {<<: *b, y: 2}", {"b": {"x": 1}, "a": {"x": 1, "y": 2}}),
        ("1: 2", {"1": 2}),
    ],
)
def test_plain_values_are_read(tmp_path: Path, content: str | bytes, values: dict[str, object]) -> None:
    """Numbers, texts, a mark of byte order, and names for what comes again."""
    assert read(tmp_path, content) == values


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[" * 20_000, "nests without end"),
        ("{a: " * 20_000, "nests without end"),
        ("- " * 20_000, "nests without end"),
        (LAUGHS, "over 100,000 values"),
        ("a: &a [*a]", "over 100,000 values"),
        ("seed: 1\nseed: 2", "line 2, column 1: the key 'seed' is there twice"),
        ("a: {b: 1, b: 2}", "the key 'b' is there twice"),
        ('!!python/object/apply:os.system ["true"]', "could not determine a constructor for the tag"),
        ("a: !!python/name:os.system x", "could not determine a constructor for the tag"),
        ("a: \0", "unacceptable character #x0000"),
        ("\x1b[31m: 1", "unacceptable character #x001b"),
        ("a: 2020-99-99", "month must be in 1..12"),
        ("a: !!timestamp x", "not of the type that its tag says"),
        ("a: !!bool x", "not of the type that its tag says"),
        ("a: !!int x", "invalid literal for int"),
        ("a: " + "9" * 5000, "5000 digits"),
        ("? [a]\n: b", "unhashable key"),
        ("a: *nope", "undefined alias"),
        ("a: 1\n---\nb: 2", "another document"),
        ("- a", "must map keys to values"),
        ("\x1b", "unacceptable character"),
        ("a: 1".encode("utf-16"), "byte 0 is no UTF-8"),
        (b"a: \xe9", "byte 3 is no UTF-8"),
        (b"\x89PNG\r\n\x1a\n\0\0", "byte 0 is no UTF-8"),
        (b"#" * 1_000_001, "over 1 MB"),
    ],
    ids=range(25),
)
def test_what_no_person_writes_is_refused_in_one_sentence(
    tmp_path: Path, content: str | bytes, words: str
) -> None:
    """Depth, repetition, objects, other encodings, keys twice, values that their tags contradict."""
    with pytest.raises(UsageError) as error:
        read(tmp_path, content)
    said = str(error.value)
    assert said.startswith("--config run.yaml ") and words in said
    assert "\n" not in said and "\x1b" not in said and len(said) < 300


@pytest.mark.parametrize("path", ["/dev/zero", "absent.yaml", "."])
def test_what_is_no_file_is_refused(path: str) -> None:
    """A device without end, nothing, a folder."""
    with pytest.raises(UsageError, match=r"^--config x "):
        yaml_mapping(Path(path), "--config x")


def test_options_and_recipes_are_read_alike(tmp_path: Path) -> None:
    """Both commands name the file by what the person gave."""
    path = tmp_path / "x.yaml"
    path.write_text("[" * 20_000)
    with pytest.raises(UsageError, match=r"^--config .*x\.yaml is not YAML"):
        load_config(TeacherConfig, {}, path)
    with pytest.raises(UsageError, match=r"^the recipe .*x\.yaml is not YAML"):
        load_recipe(path)


def test_a_setting_in_two_spellings_is_refused(tmp_path: Path) -> None:
    """Of weight-decay and weight_decay, neither wins in silence."""
    path = tmp_path / "x.yaml"
    path.write_text("weight-decay: 1\nweight_decay: 2\n")
    with pytest.raises(UsageError, match="names a setting twice"):
        load_config(TeacherConfig, {}, path)


def test_a_hostile_value_is_cut_and_spelled_out(tmp_path: Path) -> None:
    """In the sentence that refuses it: a megabyte is not printed, and the terminal obeys nothing."""
    path = tmp_path / "x.yaml"
    path.write_text('shards: s\nout: o\nmodel: "\\e[2J' + "x" * 1000 + '"\nepochs: [' + "[1]," * 200 + "]\n")
    with pytest.raises(UsageError) as error:
        load_config(TeacherConfig, {}, path)
    said = str(error.value)
    assert r"given: '\x1b[2Jxxx" in said and "\x1b" not in said and len(said) < 900
