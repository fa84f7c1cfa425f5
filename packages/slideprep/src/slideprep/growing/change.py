"""From the set as it is to the set as it will be: what all three operations share.

In: the set, what becomes of its slides and shards. Out: sidecars, workspace files and the index under
``.slideprep/next``, and then the exchange of files (:mod:`slideprep.shards.journal`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from slideprep.building.finished import Finished, build_index
from slideprep.building.identity import CHANGED, created_by
from slideprep.building.outputs import write_sidecars
from slideprep.building.state import STATE_PATH, dump_state
from slideprep.building.workspace import BUILD_PATH, Workspace, record_path, scan_path
from slideprep.errors import UsageError
from slideprep.growing.current import CurrentSet, open_set
from slideprep.shards.absent import why_no_index
from slideprep.shards.format import DESCRIPTION, INDEX_NAME, SIDECARS, Change, Index, dump_index
from slideprep.shards.journal import Journal, Request, begin, commit, finish, read_journal
from slideprep.shards.records import Failure
from slideprep.storage.open import open_store
from slideprep.storage.places import Place
from slideprep.storage.store import PARTIAL, Held, Store
from slideprep.text import for_terminal


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What an operation did.

    Attributes:
        out: The set's folder.
        before: Its index before.
        after: Its index now; the same object where nothing had to be done.
        shards: Names of the shards that were written.
        failures: Inputs that failed.
        notes: Plain sentences.
    """

    out: Place
    before: Index
    after: Index
    shards: tuple[str, ...] = ()
    failures: tuple[Failure, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Changing:
    """A set that is held for a change.

    Attributes:
        lock: What holds it.
        store: Its folder.
        current: The set as it is.
        scratch: Local folder for what grows, where the set is not a local one.
        done: The change that an interrupted run had prepared and this one has put in place, or None.
    """

    lock: Held
    store: Store
    current: CurrentSet
    scratch: Path | None
    done: Journal | None

    def begin(self, operation: str, asked: str, base: object, *, abandon: bool) -> tuple[Request, Workspace]:
        """The request, and the workspace of the folder in which the change grows; see ``staging.begin``."""
        parts = (self.current.index_sha256, created_by().model_dump(), base)
        request = Request(operation=operation, asked=asked, base=digest_of(parts))
        staging = begin(self.store, request, abandon=abandon, scratch=self.scratch)
        return request, Workspace(staging.place, scratch=self.scratch, held=self.lock)

    def missing_classes(self, operation: str, asked: tuple[str, ...]) -> tuple[str, ...]:
        """Classes to add: not those that an interrupted run of the same command has brought just now."""
        if self.done is None or self.done.request.operation != operation:
            return asked
        return tuple(name for name in asked if name not in self.current.index.classes)

    def is_done(self, asked: str) -> Outcome | None:
        """What to report where the interrupted change was the very one that is asked for."""
        if self.done is None or self.done.request.asked != asked:
            return None
        index = self.current.index
        return Outcome(
            out=self.current.out, before=index, after=index, notes=("there is nothing left to do",)
        )


def digest_of(parts: object) -> str:
    """SHA-256 of a JSON-able value."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


@contextmanager
def changing(out: Place, *, scratch: Path | None = None) -> Iterator[Changing]:
    """Hold a set against builds and other changes, and finish what an interrupted change left.

    Args:
        out: Its folder, or its address.
        scratch: As for :func:`slideprep.storage.open.open_store`.

    Raises:
        UsageError: There is no finished set, or somebody else writes to it.
    """
    store = open_store(out, scratch=scratch)
    if read_journal(store) is None and store.stat(INDEX_NAME) is None:
        raise UsageError(f"{out} holds no finished shard set: {why_no_index(store)}")
    with store.locked(_say) as lock:
        done = finish(store)
        if done is not None:
            _say(
                f"an interrupted {done.request.operation} of {out} had prepared everything; it is in place now"
            )
        yield Changing(lock=lock, store=store, current=open_set(store), scratch=scratch, done=done)


def _say(message: str) -> None:
    click.echo(for_terminal(message), err=True)


def changed_past(
    current: CurrentSet, operation: str, *, slides: int, shards: Iterable[str], **updates: Any
) -> dict[str, Any]:
    """The ``past`` of the set afterwards, for :func:`slideprep.growing.current.assemble`.

    Args:
        current: The set.
        operation: The command.
        slides: How many slides it concerned.
        shards: Names of the shards that it wrote.
        updates: Other fields of :class:`slideprep.building.finished.Past`.
    """
    past = current.finished.past
    assert past is not None, "a set that was read has a past"
    change = Change(operation=operation, slides=slides, shards=tuple(shards), created_by=created_by())
    return {"past": replace(past, changes=(*past.changes, change), **updates)}


def put_in_place(
    changing: Changing,
    after: Finished,
    request: Request,
    workspace: Workspace,
    *,
    identities: Mapping[str, Any],
    tars: Collection[str] = (),
    records: Collection[str] = (),
    scans: Collection[str] = (),
    gone: Collection[str] = (),
) -> Index:
    """Write what describes the set afterwards, then exchange the files.

    Args:
        changing: The set, held.
        after: Everything behind the new index.
        request: What was asked.
        workspace: Workspace of the folder in which the change grew.
        identities: ``build.json``'s entries of the slides afterwards.
        tars: Paths of tars below ``next``.
        records: Names of shards whose record is below ``next``.
        scans: Slides whose scan is below ``next``.
        gone: Slides whose scan goes.

    Returns:
        The new index.
    """
    staging = workspace.store
    write_sidecars(after, staging, scans_in=[changing.store])
    index = build_index(after)
    last = index.changes[-1]
    identity = {
        **changing.current.identity,
        "settings": after.config.record,
        "slides": dict(identities),
        CHANGED: [*changing.current.identity.get(CHANGED, []), [last.operation, last.slides]],
    }
    staging.write(BUILD_PATH, json.dumps(identity, indent=1, sort_keys=True).encode())
    staging.write(STATE_PATH, dump_state(after))
    staging.write(INDEX_NAME, dump_index(index))
    changing.lock.check()
    commit(
        changing.store,
        request,
        moves=[
            *tars,
            *map(record_path, records),
            *map(scan_path, scans),
            *SIDECARS,
            *(name for name in DESCRIPTION if staging.stat(name) is not None),
            BUILD_PATH,
            STATE_PATH,
        ],
        removes=[*map(scan_path, gone), *changing.store.list(PARTIAL)],
    )
    return index
