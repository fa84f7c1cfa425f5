"""docs/rooms.svg is the picture of the rules and of the code."""

from __future__ import annotations

from types import ModuleType

import pytest

from fixtures.programs import program
from fixtures.repository import ROOT


@pytest.fixture(scope="module")
def drawing() -> ModuleType:
    """docs/draw_rooms.py, which is a program and no part of a package."""
    return program(ROOT / "docs" / "draw_rooms.py")


def test_the_picture_is_that_of_the_code(drawing: ModuleType) -> None:
    """Drawn again it is the same; where this fails: python docs/draw_rooms.py."""
    assert drawing.picture() == drawing.PICTURE.read_text(encoding="utf-8")


def test_an_arrow_that_a_longer_way_implies_is_left_out(drawing: ModuleType) -> None:
    """Of a to b, b to c and a to c, the last adds nothing."""
    rooms = {"a": frozenset("bc"), "b": frozenset("c")}
    assert drawing.reduced(rooms) == {"a": frozenset("b"), "b": frozenset("c")}


@pytest.mark.parametrize("package", ["slideprep", "kdtrain"])
def test_every_room_stands_in_the_rules_and_says_what_it_is(drawing: ModuleType, package: str) -> None:
    """What lies directly below the package is what .importlinter has; a room's __init__ is a docstring alone."""
    home = ROOT / "packages" / package / "src" / package
    rooms = {path.stem for path in home.glob("*.py")} | {
        path.parent.name for path in home.glob("*/__init__.py")
    }
    assert rooms - {"__init__"} == {room for row in drawing.layers(package) for room in row}
    for init in home.glob("*/**/__init__.py"):
        text = init.read_text(encoding="utf-8")
        assert text.startswith('"""'), init
        assert text.rstrip().endswith('"""'), f"{init} holds more than a docstring"
        assert len(init.relative_to(home).parts) <= 3, f"{init} lies more than two folders deep"
