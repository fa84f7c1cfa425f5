"""The two packages stand alone, and commands that open no slide start at once."""

from __future__ import annotations

import json
import pkgutil
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

HEAVY = ("ray", "torch", "webdataset", "deepspeed")


def _python(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False, timeout=240
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
    """Help, inspect and wrong usage never import Ray, torch, webdataset or DeepSpeed."""
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


def test_help_answers_within_two_seconds() -> None:
    """The best of three starts, so that another program's load does not count."""
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        assert _python("from slideprep.cli.main import main; main(['--help'])").returncode == 0
        seconds.append(time.perf_counter() - started)
    assert min(seconds) < 2
