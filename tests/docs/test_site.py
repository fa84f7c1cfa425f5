"""The site: which files are in it, and what becomes of Sphinx's roles. ``nox -s docs`` shows that it is built."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from types import ModuleType

import pytest

from docs.pages import DOCS, ROOT, links, pages
from fixtures.programs import program


@pytest.fixture(scope="module")
def site() -> ModuleType:
    """docs/site_hooks.py, which MkDocs loads by its path too."""
    return program(DOCS / "site_hooks.py")


@pytest.mark.parametrize(
    ("html", "shown"),
    [
        ("see :class:<code>~slideprep.slides.reader.Slide</code>.", "see <code>Slide</code>."),
        ("see :func:<code>slideprep.open_slide</code>", "see <code>slideprep.open_slide</code>"),
        ("see :py:meth:<code>Executor.map</code>", "see <code>Executor.map</code>"),
        ("a ratio:<code>~x</code>, a :tag:<code>y</code>", "a ratio:<code>~x</code>, a :tag:<code>y</code>"),
    ],
)
def test_a_role_becomes_code(site: ModuleType, html: str, shown: str) -> None:
    """A role of Sphinx goes, and its ``~`` with all but the last part of the name; other text stays."""
    assert site.without_roles(html) == shown


def test_a_column_without_a_heading_heads_the_rows(site: ModuleType) -> None:
    """Where a table's first heading is empty, the first cell of each row heads it; other tables stay as they are."""
    bare = "<table>\n<thead>\n<tr>\n<th></th>\n</tr>\n</thead>\n<tbody>\n<tr>\n<td>x</td>\n<td>1</td>\n</tr>\n</table>"
    headed = bare.replace("<td>x</td>", '<th scope="row">x</th>').replace("<th></th>", "<td></td>")
    plain = bare.replace("<th></th>", "<th>name</th>")
    assert site.with_heads_of_rows(plain + bare + plain) == plain + headed + plain


def test_no_column_but_the_first_lacks_a_heading() -> None:
    """A screen reader says a cell's heading with it; the first column may be the rows' own."""
    heads = re.compile(r"^\|.*\|(?=\n\|[-:| ]+\|$)", re.MULTILINE)
    found = [
        (page.name, head) for page in pages() for head in heads.findall(page.read_text(encoding="utf-8"))
    ]
    assert len(found) > 20
    assert [each for each in found if "" in [cell.strip() for cell in each[1].split("|")[2:-1]]] == []


def test_the_search_is_named(site: ModuleType) -> None:
    """The theme's dialog gets a name, and what lies in it keeps its own attributes."""
    page = '<div class="md-search" role="dialog"><div class="md-search__form"></div></div>'
    named = (
        '<div class="md-search" aria-label="Search" role="dialog"><div class="md-search__form"></div></div>'
    )
    assert site.with_names(page) == named


def test_every_role_in_the_packages_is_known(site: ModuleType) -> None:
    """No docstring has a role that the site would show raw."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in ROOT.glob("packages/*/src/**/*.py"))
    roles = re.findall(r":(?:py:)?[a-z]+:`[^`]*`", text)
    assert roles
    rendered = (re.sub(r"`([^`]*)`", r"<code>\1</code>", role) for role in roles)
    assert not [role for role in map(site.without_roles, rendered) if not role.startswith("<code>")]


def test_the_site_has_pages_pictures_and_recipes(site: ModuleType, tmp_path: Path) -> None:
    """Paths are the repository's; code, data and what git ignores stay out."""
    inside = ("README.md", "docs/a.md", "docs/deep/b.md", "docs/c.svg", "recipes/d.yaml", "shards/e.md")
    for name in (*inside, "docs/tool.py", "shards/golden/f.md", "site/g.md", "packages/h/README.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert site.site_paths(tmp_path) == sorted(inside)


def test_what_pages_link_to_is_in_the_site(site: ModuleType) -> None:
    """A link that works in the repository works in the site, whose folders are the same."""
    paths = set(site.site_paths(ROOT))
    for page in pages():
        assert page.relative_to(ROOT).as_posix() in paths
        local = [link.partition("#")[0] for link in links(page) if not re.match("https?://", link)]
        targets = [(page.parent / path).resolve() for path in local if path]
        assert {target.relative_to(ROOT).as_posix() for target in targets} <= paths, page.name


@pytest.mark.parametrize("package", ["slideprep", "kdtrain"])
def test_no_public_name_is_that_of_a_module(package: str) -> None:
    """A function beside a module of its name is hidden by it: in the site always, in Python once that is imported."""
    (init,) = ROOT.glob(f"packages/*/src/{package}/__init__.py")
    tree = ast.parse(init.read_text(encoding="utf-8"))
    assigned = [node for node in tree.body if isinstance(node, ast.Assign)]
    (names,) = [
        ast.literal_eval(node.value) for node in assigned if ast.unparse(node.targets[0]) == "__all__"
    ]
    assert not {*names} & {path.stem for path in init.parent.iterdir()}
