"""The commands in the headers of recipes exist, and the demo runs what its recipe says."""

from __future__ import annotations

import ast
import shlex
from pathlib import Path

import pytest

from docs.pages import ROOT
from docs.test_commands import parse

RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))


def header_calls(recipe: Path) -> list[list[str]]:
    """Calls of slideprep and kdtrain in a recipe's first comment, lines that end in a backslash joined."""
    comment = [line[1:].strip() for line in recipe.read_text().split("\ntitle:")[0].splitlines()]
    lines = "\n".join(comment).replace("\\\n", " ").splitlines()
    return [shlex.split(line) for line in lines if line.startswith(("slideprep ", "kdtrain "))]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.name)
def test_commands_in_headers_exist(recipe: Path) -> None:
    """Every recipe says how it is run and how its report is made, in commands that parse."""
    calls = header_calls(recipe)
    assert {"sweep", "report"} <= {call[1] for call in calls}
    for call in calls:
        parse(call)


def test_the_demo_runs_what_its_recipe_says() -> None:
    """Options and their values in the recipe's header are those of the nox session, which adds folders and the seed."""
    tree = ast.parse((ROOT / "noxfile.py").read_text())
    (demo,) = (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "demo")
    said = {node.value for node in ast.walk(demo) if isinstance(node, ast.Constant)}
    for call in header_calls(ROOT / "recipes" / "demo.yaml"):
        assert {word for word in call if "demo-out" not in word} <= said
