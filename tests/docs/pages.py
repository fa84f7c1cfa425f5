"""Markdown pages as data: their code blocks, links and anchors."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fixtures.repository import ROOT

DOCS = ROOT / "docs"
SHELLS = ("sh", "bash")
PROGRAMS = ("slideprep", "kdtrain")


@dataclass(frozen=True, kw_only=True)
class Block:
    """A fenced code block.

    Attributes:
        page: The page.
        line: Of its first line of content.
        language: Behind the fence.
        text: Its content.
        before: The line of prose before it.
    """

    page: Path
    line: int
    language: str
    text: str
    before: str


def pages() -> list[Path]:
    """Every page that is read by people who use or change the software."""
    others = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "benchmarks" / "README.md"]
    recipes = sorted((ROOT / "recipes").glob("*.md")) if (ROOT / "recipes").is_dir() else []
    return [*others, *sorted(DOCS.glob("*.md")), *recipes]


def blocks(page: Path) -> Iterator[Block]:
    """Code blocks of a page, in order."""
    language, start, content, before = None, 0, [], ""
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        if line.startswith("```"):
            if language is None:
                language, start, content = line[3:].strip(), number + 1, []
            else:
                yield Block(page=page, line=start, language=language, text="\n".join(content), before=before)
                language = None
        elif language is not None:
            content.append(line)
        elif line.strip():
            before = line
    assert language is None, f"{page.name}: a code block is not closed"


def command_lines(block: Block) -> list[str]:
    """The commands of a shell block: joined where a line ends in a backslash, without comments."""
    joined = block.text.replace("\\\n", " ")
    return [line.strip() for line in joined.splitlines() if line.strip() and not line.strip().startswith("#")]


def program_calls(line: str) -> Iterator[list[str]]:
    """Calls of our programs in a command line, behind a launcher or not: the program and its arguments."""
    words = shlex.split(line, comments=True)
    calls: list[list[str]] = [[]]
    for word in words:
        if word in ("&&", "||", ";", "|", "&"):
            calls.append([])
        else:
            calls[-1].append(word)
    for call in calls:
        if call and call[0] in PROGRAMS:
            yield call
        for number, word in enumerate(call[:-1]):
            if word in ("-m", "--module") and call[number + 1] in PROGRAMS:
                yield call[number + 1 :]


def prose(page: Path) -> str:
    """A page without its code blocks."""
    return re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def links(page: Path) -> list[str]:
    """Targets of a page's links and images."""
    return re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`]*`", "", prose(page)))


def anchors(page: Path) -> set[str]:
    """What a link's fragment may name: the headings, as GitHub spells them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}
