"""``python -O`` drops assertions and ``-OO`` docstrings too: nothing that matters is in either."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from e2e.builds import SMALL, good_slides, shard_bytes, write_labels
from fixtures.commands import invoked
from fixtures.repository import ROOT
from fixtures.training_runs import QUICK
from kdtrain.cli.main import main as kdtrain
from slideprep.cli.main import main as slideprep

SOURCES = sorted(ROOT.glob("packages/*/src/**/*.py"))

PURE = {"all", "bytes", "isinstance", "len", "max", "min"}
"""What an assertion may call: nothing changes by it."""

PURE_METHODS = {"_at"}
"""Of our own: the filter's arithmetic on a row's number."""

PROGRAM = """
import json, sys
from importlib import import_module
from click.testing import CliRunner
said = []
for package, *arguments in json.loads(sys.argv[1]):
    main = import_module(package + ".cli.main").main
    run = CliRunner().invoke(main, arguments, catch_exceptions=False)
    said.append((run.exit_code, run.output))
print(json.dumps(said))
"""
HELPS = (("slideprep", "--help"), ("slideprep", "build-shards", "--help"), ("kdtrain", "teacher", "--help"))


def impure(assertion: ast.Assert) -> str:
    """The first thing in an assertion that may change something, as it is written; "" where there is none."""
    for node in ast.walk(assertion.test):
        if isinstance(node, ast.NamedExpr | ast.Await | ast.Yield | ast.YieldFrom):
            return ast.unparse(node)
        if isinstance(node, ast.Call):
            called = node.func
            by_name = isinstance(called, ast.Name) and called.id in PURE
            by_method = isinstance(called, ast.Attribute) and called.attr in PURE_METHODS
            if not (by_name or by_method):
                return ast.unparse(node)
    return ""


def test_no_assertion_does_work() -> None:
    """Each looks at what is there; and no code asks whether assertions are kept."""
    assert len(SOURCES) > 100
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            assert not (isinstance(node, ast.Name) and node.id == "__debug__"), path
            if isinstance(node, ast.Assert):
                assert not impure(node), f"{path}:{node.lineno}: {impure(node)}"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("assert self.add(after) == '', 'one image'", "self.add(after)"),
        ("assert (n := len(rows)) > 0", "n := len(rows)"),
        ("assert next(samples, None) is None", "next(samples, None)"),
        ("assert all(len(row) == n for row in rows)", ""),
    ],
)
def test_an_assertion_that_works_is_found(text: str, found: str) -> None:
    """Calls and assignments are told from looking."""
    (assertion,) = ast.parse(text).body
    assert isinstance(assertion, ast.Assert)
    assert impure(assertion).strip("()") == found.strip("()")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Slides, their labels, and the set that a build with all assertions makes of them in ``out``."""
    folder = tmp_path_factory.mktemp("optimised")
    good_slides(folder / "slides", 8)
    write_labels(folder / "labels.csv", [(f"slide-{n}", "ab"[n % 2], f"p{n}") for n in range(8)])
    assert invoked(slideprep, *build(folder, folder / "out")).exit_code == 0
    return folder


def build(folder: Path, out: Path) -> list[str]:
    """Arguments of a build."""
    slides, labels = str(folder / "slides"), str(folder / "labels.csv")
    shared = ["--split", "2,1,1", "--shard-mb", "1", "--workers", "0"]
    return ["build-shards", slides, "--labels", labels, "--out", str(out), *SMALL, *shared]


@pytest.mark.parametrize("option", ["-O", "-OO"])
def test_nothing_is_lost_with_assertions_and_docstrings(
    option: str, built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Help is the same to the letter, a build writes the same bytes, they verify, and a network is trained on them."""
    out, run = tmp_path / "out", tmp_path / "run"
    work = [["slideprep", *build(built, out)], ["slideprep", "verify", str(out), "--workers", "1"]]
    if option == "-OO":  # which drops assertions, too; the libraries take seconds to import
        work += [["kdtrain", "teacher", "--shards", str(out), "--out", str(run), *QUICK, "--device", "cpu"]]
    done = subprocess.run(
        [sys.executable, option, "-c", PROGRAM, json.dumps([*HELPS, *work])],
        env={**os.environ, "OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert [code for code, _ in said] == [0] * len(said), said
    mains = {"slideprep": slideprep, "kdtrain": kdtrain}
    for command in (each for main in mains.values() for each in (main, *main.commands.values())):
        # click keeps the option that it first made, in a test that called a command by itself without "-h".
        monkeypatch.setattr(command, "_help_option", None)
    assert [text for _, text in said[: len(HELPS)]] == [
        invoked(mains[package], *arguments).output for package, *arguments in HELPS
    ]
    assert shard_bytes(out) == shard_bytes(built / "out")
    assert (run / "model.safetensors").exists() == (option == "-OO")
