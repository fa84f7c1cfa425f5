"""The two packages stand alone, commands that open no slide start at once, and what is said twice is said alike."""

from __future__ import annotations

import ast
import json
import pkgutil
import re
import subprocess
import sys
import tomllib
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from packaging.requirements import Requirement
from PIL import Image

from fixtures.waiting import PATIENCE_S, cpu_s_of_children

HEAVY = ("ray", "torch", "webdataset", "deepspeed", "jinja2")
PACKAGES = ("slideprep", "kdtrain")
ROOT = Path(__file__).resolve().parents[1]


def _python(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )


def _modules(package: str) -> list[str]:
    path = import_module(package).__path__
    return [package, *(found.name for found in pkgutil.walk_packages(path, f"{package}."))]


@pytest.mark.parametrize(("package", "absent"), [("slideprep", "kdtrain"), ("kdtrain", "slideprep")])
def test_each_package_imports_without_the_other(package: str, absent: str) -> None:
    """Every module of one package imports where the other does not exist."""
    modules = [name for name in _modules(package) if not name.endswith("__main__")]
    assert len(modules) > 5
    program = (
        "import importlib, sys\n"
        f"sys.modules[{absent!r}] = None\n"
        "for name in sys.argv[1:]:\n"
        "    importlib.import_module(name)"
    )
    assert _python(program, *modules).stderr == ""


def _names_of_slideprep(path: Path) -> set[str]:
    """What a file takes from slideprep, type checking included: dotted where it reaches below the package."""
    tree = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    below = {
        alias.name.partition(".")[2]
        for node in tree
        if isinstance(node, ast.Import)
        for alias in node.names
        if alias.name.partition(".")[0] == "slideprep"
    }
    inside = {
        f"{node.module}.{alias.name}".partition(".")[2]
        for node in tree
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "slideprep"
        for alias in node.names
    }
    attributes = {
        node.attr
        for node in tree
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "slideprep"
    }
    return (below - {""}) | inside | attributes


def test_kdtrain_takes_public_names_of_slideprep_alone() -> None:
    """Kdtrain reads slides as any other program could, and is not broken by what moves inside slideprep."""
    files = sorted((ROOT / "packages" / "kdtrain" / "src").rglob("*.py"))
    taken = {path.name: names for path in files if (names := _names_of_slideprep(path))}
    assert "find_slides" in taken["slides.py"]
    public = {*import_module("slideprep").__all__}
    assert {name: names - public for name, names in taken.items() if names - public} == {}


@pytest.mark.parametrize("command", ["", "add-slides", "inspect", "labels-from-tcga", "verify"])
def test_help_imports_no_library_but_clicks(command: str) -> None:
    """What prints a result, reads settings or computes comes in when a command does it."""
    program = (
        "import sys\n"
        "from slideprep.cli.main import main\n"
        "try:\n"
        "    main([*sys.argv[1:], '--help'])\n"
        "except SystemExit:\n"
        "    print([name for name in ('numpy', 'rich', 'pydantic', 'scipy') if name in sys.modules])"
    )
    assert _python(program, *command.split()).stdout.splitlines()[-1] == "[]"


@pytest.fixture
def slide(tmp_path: Path) -> str:
    """A PNG of a few bytes."""
    Image.fromarray(np.full((64, 64, 3), 200, np.uint8)).save(tmp_path / "a.png")
    return str(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--help"], 0),
        (["build-shards", "--help"], 0),
        (["inspect", "SLIDE"], 0),
        (["build-shards", "SLIDE", "--out", "unused", "--quality", "101"], 2),
        (["build-shards", "no-such-slide.svs", "--out", "unused"], 2),
        (["build-shards", "SLIDE", "--out", "unused", "--labels", "none.csv"], 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_quick_commands_import_nothing_heavy(slide: str, arguments: list[str], code: int) -> None:
    """Help, inspect and wrong usage never import Ray, torch, webdataset, DeepSpeed or jinja2."""
    program = (
        "import json, sys\n"
        "from slideprep.cli.main import main\n"
        "try:\n"
        "    main(sys.argv[1:], prog_name='slideprep')\n"
        "except SystemExit as end:\n"
        f"    loaded = [name for name in {HEAVY!r} if sys.modules.get(name)]\n"
        "    print(json.dumps([end.code or 0, loaded]))"
    )
    run = _python(program, *(slide if argument == "SLIDE" else argument for argument in arguments))
    assert json.loads(run.stdout.splitlines()[-1]) == [code, []], run.stderr


def test_import_kdtrain_imports_nothing_else() -> None:
    """Nor does a look at its names: no module but kdtrain's own, the standard library aside."""
    program = (
        "import sys\n"
        "before = set(sys.modules)\n"
        "import kdtrain\n"
        "assert 'Dataset' in dir(kdtrain)\n"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print(new - sys.stdlib_module_names)"
    )
    run = _python(program)
    assert run.stdout == "{'kdtrain'}\n", run.stderr


def test_help_answers_within_two_seconds() -> None:
    """CPU time of the best of three starts, so that another program's load does not count."""
    seconds = []
    for _ in range(3):
        before = cpu_s_of_children()
        assert _python("from slideprep.cli.main import main; main(['--help'])").returncode == 0
        seconds.append(cpu_s_of_children() - before)
    assert min(seconds) < 2


def test_the_list_of_commands_needs_no_library_of_a_build() -> None:
    """What models, slides and images need is imported by the commands that use it, and not before."""
    libraries = ("numpy", "PIL", "pydantic", "scipy", "yaml")
    program = f"import sys, slideprep.cli.main; print([name for name in {libraries} if name in sys.modules])"
    assert _python(program).stdout == "[]\n"


def _yaml(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def _project(package: str) -> dict[str, Any]:
    return tomllib.loads((ROOT / "packages" / package / "pyproject.toml").read_text(encoding="utf-8"))[
        "project"
    ]


def test_one_version() -> None:
    """Both packages, installed too, CITATION.cff and the changelog's first section have the same version."""
    stated = {package: import_module(package).__version__ for package in PACKAGES}
    stated |= {f"installed {package}": metadata.version(package) for package in PACKAGES}
    stated["CITATION.cff"] = str(_yaml("CITATION.cff")["version"])
    headings = re.findall(r"^## ([^,\s]+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.M)
    stated["CHANGELOG.md"] = headings[0]
    assert len(set(stated.values())) == 1, stated


def test_the_extra_takes_this_slideprep_and_its_fixes_alone() -> None:
    """kdtrain[slides] admits slideprep as it is here and a later fix of it, and no other minor version."""
    wanted = [Requirement(line) for line in _project("kdtrain")["optional-dependencies"]["slides"]]
    (slideprep,) = [requirement for requirement in wanted if requirement.name == "slideprep"]
    version = import_module("slideprep").__version__
    major, minor, _ = version.split(".")
    assert version in slideprep.specifier
    assert f"{major}.{minor}.99" in slideprep.specifier
    assert f"{major}.{int(minor) + 1}.0" not in slideprep.specifier


def test_hooks_and_lint_run_the_same_ruff() -> None:
    """The hook's ruff is the lock's, so that what a commit passes the lint session passes too."""
    (rev,) = [repo["rev"] for repo in _yaml(".pre-commit-config.yaml")["repos"] if "ruff" in repo["repo"]]
    lock = (ROOT / "requirements" / "dev.txt").read_text(encoding="utf-8")
    assert re.findall(r"^ruff==(\S+)", lock, flags=re.M) == [rev.removeprefix("v")]


@pytest.mark.parametrize("package", PACKAGES)
def test_promised_pythons_are_tested(package: str) -> None:
    """The hosted workflow runs the tests on each Python that a package's classifiers name, from the oldest required."""
    project = _project(package)
    stem = "Programming Language :: Python :: "
    promised = [name.removeprefix(stem) for name in project["classifiers"] if name.startswith(stem)]
    assert _yaml(".github/workflows/ci.yml")["jobs"]["session"]["strategy"]["matrix"]["python"] == promised
    assert project["requires-python"] == f">={promised[0]}"
