"""A change that ends at any of its writes leaves the set as it was, or is completed by the same command."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from fixtures.build_inputs import write_labels, write_slides
from fixtures.commands import invoked
from slideprep.cli.main import main
from slideprep.shards.verify.verify import verify
from slideprep.storage.local import LocalStore

TINY = ("--tissue", "whole", "--objective", "20", "--magnifications", "5", "--workers", "0")
NAMES = [f"s{number}.png" for number in range(4)]
WRITES = ("write", "publish", "remove")
"""Everything by which a change touches the set's folder."""

Command = tuple[str | Path, ...]


class _Killed(BaseException):
    """Stands for a killed process: nothing may handle it."""


def _kill(_: int) -> None:
    raise _Killed


def run(*arguments: str | Path) -> Result:
    """Run slideprep in this process."""
    return invoked(main, *arguments)


def commands(folder: Path) -> dict[str, Command]:
    """One change of each kind, by name."""
    out = folder / "out"
    new = (folder / "new", "--labels", folder / "new.csv", "--workers", "0")
    return {
        "add-slides": ("add-slides", out, *new),
        "remove-slides": ("remove-slides", out, "s1.png"),
        "relabel": ("relabel", out, "--labels", folder / "relabel.csv"),
    }


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a set of four slides, one new slide, and tables."""
    folder = tmp_path_factory.mktemp("crash")
    pictures = write_slides(folder / "old", [*NAMES, "n.png"])
    (folder / "new").mkdir()
    shutil.move(pictures / "n.png", folder / "new" / "n.png")
    rows = [{"slide": name, "label": "ab"[n % 2], "patient": f"p{n}"} for n, name in enumerate(NAMES)]
    labels = write_labels(folder / "labels.csv", rows)
    write_labels(folder / "new.csv", [{"slide": "n.png", "label": "a", "patient": "new"}])
    write_labels(folder / "relabel.csv", [{"slide": "s2.png", "label": "b"}])
    built = run(
        "build-shards", folder / "old", "--labels", labels, *TINY, "--split", "2,0,2", "--out", folder / "out"
    )
    assert built.exit_code == 0, built.output
    return folder


def files(out: Path) -> dict[str, bytes]:
    """Every file of a set that outlives a change, by path."""
    found = {p.relative_to(out).as_posix(): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}
    return {name: data for name, data in found.items() if name != ".slideprep/lock"}


@contextmanager
def killed_at(count: int) -> Iterator[list[str]]:
    """Let ``count`` writes pass and end the process at the next, before it or in its middle."""
    done: list[str] = []

    def counting(original: Callable[..., Any], name: str) -> Callable[..., Any]:
        def wrapped(self: LocalStore, *arguments: Any) -> Any:
            if len(done) == count and name == "write":
                # its half-made file stays, under the name of a process that is no more
                patch.setattr("slideprep.storage.files.os.getpid", lambda: 1)
                patch.setattr("slideprep.storage.files.os.fsync", _kill)
            elif len(done) == count:
                raise _Killed
            done.append(name)
            return original(self, *arguments)

        return wrapped

    with pytest.MonkeyPatch.context() as patch:
        for name in WRITES:
            patch.setattr(LocalStore, name, counting(getattr(LocalStore, name), name))
        yield done


def attempt(command: Command, count: int) -> bool:
    """Run a command and end it at its write number ``count``; False where it has fewer."""
    with killed_at(count):
        try:
            assert run(*command).exit_code == 0
        except _Killed:
            return True
    return False


@pytest.mark.parametrize("kind", ["add-slides", "remove-slides", "relabel"])
def test_a_change_that_is_killed_at_any_write_is_completed(kind: str, built: Path, tmp_path: Path) -> None:
    """At every one of its writes: the set is whole as before or says so, and the second run gives the same bytes."""
    shutil.copytree(built, tmp_path / "whole")
    assert run(*commands(tmp_path / "whole")[kind]).exit_code == 0
    wanted, before = files(tmp_path / "whole" / "out"), files(built / "out")
    moments = 0
    for count in range(200):
        folder = tmp_path / "set"
        shutil.copytree(built, folder)
        if not attempt(commands(folder)[kind], count):
            break
        moments += 1
        left = files(folder / "out")
        untouched = {name: left.get(name) for name in before} == before
        report = verify(folder / "out", quick=True)
        assert report.ok == untouched or ".slideprep/journal.json" in left
        if ".slideprep/journal.json" in left:
            assert f"slideprep {kind} was interrupted" in str(report.faults[0])
        again = run(*commands(folder)[kind])
        assert again.exit_code == 0, f"after {count} writes: {again.output}"
        assert files(folder / "out") == wanted, f"killed after {count} writes"
        shutil.rmtree(folder)
    assert 15 < moments < 199


def test_another_change_finishes_an_interrupted_one_first(built: Path, tmp_path: Path) -> None:
    """A removal that met its end among the moves is carried out by a later relabel, and both are in the index."""
    folder = tmp_path / "set"
    shutil.copytree(built, folder)
    journal = folder / "out" / ".slideprep" / "journal.json"
    for count in range(200):
        attempt(commands(folder)["remove-slides"], count)
        if journal.exists() and not (folder / "out" / "index.json").exists():
            break
    refused = run(
        "build-shards", folder / "old", "--labels", folder / "labels.csv", *TINY, "--out", folder / "out"
    )
    assert refused.exit_code == 2
    assert "slideprep remove-slides was interrupted" in refused.output
    assert run(*commands(folder)["relabel"]).exit_code == 0
    assert not journal.exists()
    assert verify(folder / "out").ok
    assert b'"remove-slides"' in (folder / "out" / "index.json").read_bytes()


def test_an_unfinished_change_is_given_up_only_when_asked(built: Path, tmp_path: Path) -> None:
    """Shards that an interrupted addition wrote are not thrown away by a removal, unless --abandon says so."""
    folder = tmp_path / "set"
    shutil.copytree(built, folder)
    for count in range(200):
        attempt(commands(folder)["add-slides"], count)
        if list((folder / "out" / ".slideprep" / "next").glob(".slideprep/shards/*.json")):
            break
    remove = commands(folder)["remove-slides"]
    refused = run(*remove)
    assert refused.exit_code == 2
    assert "another change" in refused.output and "(add-slides)" in refused.output
    assert verify(folder / "out").ok
    assert run(*remove, "--abandon").exit_code == 0
    assert verify(folder / "out").ok
    assert not list((folder / "out" / ".slideprep" / "next").rglob("*.tar"))


@pytest.mark.parametrize("kind", ["add-slides", "relabel"])
def test_a_new_class_is_added_once(kind: str, built: Path, tmp_path: Path) -> None:
    """Killed when its journal stands, a change with --add-class is completed by the same command."""
    folder = tmp_path / "set"
    shutil.copytree(built, folder)
    write_labels(folder / "new.csv", [{"slide": "n.png", "label": "c", "patient": "new"}])
    write_labels(folder / "relabel.csv", [{"slide": "s2.png", "label": "c"}])
    command = (*commands(folder)[kind], "--add-class", "c")
    count = 0
    while not (folder / "out" / ".slideprep" / "journal.json").exists():
        assert attempt(command, count)
        count += 1
    again = run(*command)
    assert again.exit_code == 0, again.output
    assert f"an interrupted {kind} of" in again.output
    assert b'"classes":["a","b","c"]' in (folder / "out" / "index.json").read_bytes().replace(
        b" ", b""
    ).replace(b"\n", b"")
    assert verify(folder / "out").ok


def test_two_changes_at_once_are_refused(built: Path, tmp_path: Path) -> None:
    """While one command holds the set, a second one is refused and changes nothing."""
    folder = tmp_path / "set"
    shutil.copytree(built, folder)
    before = files(folder / "out")
    with LocalStore(folder / "out").locked(lambda _: None):
        refused = run(*commands(folder)["remove-slides"])
    assert refused.exit_code == 2
    assert "another build is writing" in refused.output
    assert files(folder / "out") == before
