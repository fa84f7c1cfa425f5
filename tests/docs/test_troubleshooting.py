"""What docs/troubleshooting.md quotes is what the programs print."""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest

from docs.pages import DOCS, ROOT

PAGE = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
QUOTES = re.findall(r"^> `(.+)`$", PAGE, flags=re.MULTILINE)
CELLS = re.findall(r"^\| `([^`]+)`[^|]* \|", PAGE, flags=re.MULTILINE)


@cache
def source() -> str:
    """Every string of the packages' source; of an f-string the pieces between what it fills in."""
    trees = (ast.parse(path.read_text(encoding="utf-8")) for path in ROOT.glob("packages/*/src/**/*.py"))
    nodes = (node for tree in trees for node in ast.walk(tree))
    return "\n".join(
        node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def share_of_source(quote: str) -> float:
    """How many of a quotation's runs of two words stand in the source; the others hold what was filled in."""
    words = quote.split()
    runs = [" ".join(words[start : start + 2]) for start in range(max(len(words) - 1, 1))]
    return sum(run in source() for run in runs) / len(runs)


def test_there_is_something_to_check() -> None:
    """The page quotes messages, and has tables of them."""
    assert len(QUOTES) > 20
    assert len(CELLS) > 10


@pytest.mark.parametrize("quote", [*QUOTES, *CELLS], ids=lambda quote: quote[:50])
def test_a_quoted_message_is_one_of_the_source(quote: str) -> None:
    """Whoever writes a message anew writes it anew on the page; a single word may differ unseen."""
    assert share_of_source(quote) > 0.4, quote
