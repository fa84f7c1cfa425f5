"""What the site needs beyond mkdocs.yml: the repository's files that are in it, no roles of Sphinx's, heads of rows.

The site has the folders of the repository, ``docs/`` one among them, so a link between two pages that works on the
repository's web view works in the site as it stands, and nothing is rewritten.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

ROOT = Path(__file__).resolve().parents[1]

IN_THE_SITE = (
    "*.md",
    "LICENSE",
    "docs/**/*.md",
    "docs/*.svg",
    "docs/screenshots/*.webp",
    "docs/site.css",
    "docs/site.js",
    "docs/iframe-worker.js",
    "shards/*.md",
    "benchmarks/README.md",
    "recipes/*",
)
"""Patterns, from the repository's root: the pages, and the files that they show or link to."""

_ROLE = re.compile(r":(?:py:)?(?:attr|class|data|exc|func|meth|mod|obj):<code>(~?)([\w.]+)</code>")


_UNNAMED = {
    "md-search": 'aria-label="Search"',
    "md-search__scrollwrap": 'role="region" aria-label="What was found"',
}
"""Parts of the theme by their class, and what they lack."""


def site_paths(root: Path) -> list[str]:
    """Paths of the site's files, from the repository's root, sorted, each once."""
    found = {path for pattern in IN_THE_SITE for path in root.glob(pattern) if path.is_file()}
    return sorted(path.relative_to(root).as_posix() for path in found)


def without_roles(html: str) -> str:
    """A page without ``:role:`` before names in code; of a name that begins with ``~`` the last part stays."""

    def name_alone(role: re.Match[str]) -> str:
        tilde, name = role.groups()
        return f"<code>{name.rpartition('.')[2] if tilde else name}</code>"

    return _ROLE.sub(name_alone, html)


def with_heads_of_rows(html: str) -> str:
    """A page whose tables with an empty first heading have their first column as headings: of rows."""

    def headed(table: re.Match[str]) -> str:
        rows = table[0].replace("<th></th>", "<td></td>", 1)
        return re.sub(r"(<tr>\s*)<td>(.+?)</td>", r'\1<th scope="row">\2</th>', rows)

    return re.sub(r"<table>\s*<thead>\s*<tr>\s*<th></th>.*?</table>", headed, html, flags=re.DOTALL)


def with_names(page: str) -> str:
    """A whole page whose search has a name: the theme gives none to its dialog, nor to the list of what was found."""
    for box, given in _UNNAMED.items():
        page = page.replace(f'<div class="{box}"', f'<div class="{box}" {given}')
    return page


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """MkDocs asks which files there are: those of the theme, and ours from the whole repository."""
    from mkdocs.structure.files import (
        File,
        Files,
    )  # here, as the tests of the functions above run without MkDocs

    theme = [file for file in files if file.src_dir != config.docs_dir]
    ours = [File(path, str(ROOT), config.site_dir, config.use_directory_urls) for path in site_paths(ROOT)]
    return Files([*theme, *ours])


def on_page_content(html: str, **_: Any) -> str:
    """MkDocs hands over each page as HTML."""
    return with_heads_of_rows(without_roles(html))


def on_post_page(output: str, **_: Any) -> str:
    """MkDocs hands over each whole page, the theme's parts with it."""
    return with_names(output)
