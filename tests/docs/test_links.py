"""Links, anchors and names of code in the documentation lead somewhere."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from docs.pages import DOCS, ROOT, anchors, links, pages

PACKAGES = ROOT / "packages"


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    """Every link to a file names one that exists, and every fragment a heading of its page."""
    for link in links(page):
        if re.match(r"https?://", link):
            continue
        path, _, fragment = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name}: {link}"
        if fragment:
            assert fragment in anchors(target), f"{page.name}: {link}; there is {sorted(anchors(target))}"


def test_every_page_is_in_the_index() -> None:
    """docs/README.md links to each page beside it, and to the shard format."""
    named = set(links(DOCS / "README.md"))
    assert {page.name for page in DOCS.glob("*.md")} - {"README.md"} <= named
    assert "../shards/SHARD_FORMAT.md" in named


def _names(file: Path) -> set[str]:
    """Functions, classes and module-level names of a file."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    found = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    for node in tree.body:
        targets = (
            node.targets
            if isinstance(node, ast.Assign)
            else [node.target]
            if isinstance(node, ast.AnnAssign)
            else []
        )
        found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return found


MENTIONS = sorted(
    {
        mention
        for page in DOCS.glob("*.md")
        for mention in re.findall(r"`(\w+(?:/\w+)*\.py)::(\w+)`", page.read_text(encoding="utf-8"))
    }
)


def test_the_method_is_traced_to_code() -> None:
    """The page on the method names the three equations' functions, so there is something to check."""
    assert {("kdtrain/losses.py", name) for name in ("distillation_loss", "soft_loss", "pixel_loss")} <= set(
        MENTIONS
    )


@pytest.mark.parametrize(("path", "name"), MENTIONS, ids=lambda value: value)
def test_code_that_a_page_mentions_exists(path: str, name: str) -> None:
    """`path::name` is a file of a package and a function, class or constant in it."""
    (file,) = PACKAGES.glob(f"*/src/{path}")
    assert name in _names(file), f"{path} has no {name}"
