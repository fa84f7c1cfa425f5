"""Advice of slideprep's in a prediction: every option that a sentence names is one of the command that was run."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import kdtrain
import slideprep
from kdtrain.cli.features import features_command
from kdtrain.cli.predict import predict_command
from kdtrain.predict import remedies
from kdtrain.predict.remedies import for_predict

OPTIONS, OF_VECTORS = (
    {name for option in command.params for name in option.opts if name.startswith("--")}
    for command in (predict_command, features_command)
)
"""Of ``kdtrain predict``, and of ``kdtrain features``, which reads slides in the same way."""
ROOMS = ("images", "regions", "slides", "storage", "tissue", "units.py", "workers")
"""Of slideprep, what reads slides; prediction asks for nothing else."""
OWN_ROOMS = (
    "predict",
    "bundle/document.py",
    "bundle/files.py",
    "bundle/graph.py",
    "bundle/load.py",
    "bundle/runtime.py",
    "bundle/training_data.py",
)
"""Of kdtrain, what prediction runs through."""
BUILDS_ALONE = ("--ray-address",)
"""How sentences begin that only a build can raise: prediction joins no cluster."""


def named(text: str) -> set[str]:
    """The options that a text names; commands of other programs stand in backquotes."""
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]*[a-z]", re.sub(r"`[^`]*`", "", text)))


def sentences(home: Path, rooms: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """(place, text) of every text in the code, but docstrings; what is filled in stands as "{}"."""
    for room in rooms:
        for path in sorted((home / room).rglob("*.py")) or [home / room]:
            if path.name == Path(remedies.__file__).name:
                continue  # which has the words to look for
            for line, text in texts(ast.parse(path.read_text(encoding="utf-8"))):
                yield f"{path.relative_to(home)}:{line}", text


def texts(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Of one file."""
    passed_over = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            passed_over |= {id(part) for part in node.values}
            parts = (part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
            yield node.lineno, "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in passed_over:
            yield node.lineno, node.value


@pytest.mark.parametrize(
    ("package", "rooms"), [(slideprep, ROOMS), (kdtrain, OWN_ROOMS)], ids=["slideprep", "kdtrain"]
)
def test_no_sentence_names_an_option_that_predict_lacks(package: ModuleType, rooms: tuple[str, ...]) -> None:
    """Of all that is written in the rooms that read slides and bundles: options, and files that only a build writes."""
    found = {}
    for place, text in sentences(Path(package.__file__ or "").parent, rooms):
        # Whole sentences: single words are names of settings, which others put together.
        if " " not in text or text.startswith(BUILDS_ALONE):
            continue
        said = for_predict(text)
        if place.startswith("predict/vectors"):
            options = OF_VECTORS
        else:  # slideprep's reach both commands
            options = OPTIONS & OF_VECTORS if package is slideprep else OPTIONS
        if wrong := (named(said) - options) | set(re.findall(r"preview\.html|build-shards", said)):
            found[place] = (sorted(wrong), text)
    assert found == {}


@pytest.mark.parametrize(
    ("sentence", "said"),
    [
        (
            "2.5x is finer than the scan (1.25x by objective) and slides are never upsampled; leave 2.5 out of "
            "--magnifications or leave this slide out",
            "2.5x is finer than the scan (1.25x by objective) and slides are never upsampled, and the network saw "
            "images at that magnification; leave this slide out, or correct its objective or mpp by --labels "
            "labels.csv",
        ),
        (
            "slide 'a' has no mpp and magnifications are physical (--magnification-by mpp); pass --mpp 0.25 (its µm "
            "per pixel) or fill the column 'mpp' of labels.csv",
            "slide 'a' has no mpp and the network's magnification is physical; pass --mpp 0.25 (its µm per pixel) or "
            "give it by --labels labels.csv, in a column 'mpp'",
        ),
        (
            "slide 'a' has no tissue that --tissue auto could find; look at it in preview.html, and use --tissue whole "
            "or annotations if there is some",
            "slide 'a' has no tissue that --tissue auto could find; use --tissue whole or annotations if there is some",
        ),
        (
            "70000 px on its longer side at 10x, beyond the 65500 px of jpeg; use --image-format png, or leave that "
            "magnification out",
            "70000 px on its longer side at 10x, beyond the 65500 px of jpeg; the network's images are encoded "
            "so, and one of a lower magnification takes the slide",
        ),
        (
            "only 12 px on its shorter side at 2.5x, where 32 px are the least; to keep it, leave the lowest "
            "magnifications out",
            "only 12 px on its shorter side at 2.5x, where 32 px are the least",
        ),
        ("slide 'a' is damaged; copy it again", "slide 'a' is damaged; copy it again"),
    ],
)
def test_the_fact_stays_and_the_remedy_is_there(sentence: str, said: str) -> None:
    """Sentence by sentence; others stay as they are."""
    assert for_predict(sentence) == said
