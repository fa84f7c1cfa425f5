"""The journal: how the files of a set are exchanged so that a kill at any moment loses nothing.

A change is prepared under ``.slideprep/next``, which mirrors the set's folder: new tars, records, sidecars, and the
new index. Until it is complete the set is as it was. Then ``.slideprep/journal.json`` is written, which lists every
file that moves and every one that goes; from that moment on the change only goes forward: the index is removed, files
are moved, the new index comes last, and the journal is removed. Each of these steps can be done again, so whoever finds
a journal carries it out from its first line. The journal names no slide and no patient.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from slideprep.errors import UsageError
from slideprep.shards.format import INDEX_NAME, WORKSPACE
from slideprep.storage.files import OutputError, output_errors
from slideprep.storage.open import open_store
from slideprep.storage.places import Place
from slideprep.storage.remote import UnansweredError
from slideprep.storage.store import Store

NEXT = f"{WORKSPACE}/next"
JOURNAL = f"{WORKSPACE}/journal.json"
_REQUEST = "request.json"


class Request(BaseModel):
    """What a change was asked to do.

    Attributes:
        operation: The command.
        asked: Digest of the command's arguments, which tells that a finished change was the one asked for.
        base: Digest of everything that decides its outcome, the set as it is among it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    operation: str
    asked: str
    base: str


class Journal(BaseModel):
    """A change that is complete and being put in place.

    Attributes:
        request: What it was asked to do.
        moves: Paths that move from ``next`` to the same place in the set, the index last.
        removes: Paths that go.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    request: Request
    moves: tuple[str, ...]
    removes: tuple[str, ...]


def read_journal(store: Store) -> Journal | None:
    """The journal of a set, where one was left.

    Raises:
        UsageError: It is of another version, or the set may not be read.
        OutputError: The store does not answer; a change must not begin beside a journal that was not seen.
    """
    try:
        with suppress(FileNotFoundError, NotADirectoryError):
            return Journal.model_validate_json(store.read(JOURNAL))
        return None
    except UnansweredError as error:
        raise OutputError(
            f"cannot read {store.place}/{JOURNAL}: {error.strerror}; check the network and the store, then try "
            "again"
        ) from error
    except OSError as error:
        raise UsageError(
            f"{store.place} cannot be read: {error.strerror or error}; check the path or address, and your permissions"
        ) from error
    except ValidationError as error:
        raise UsageError(
            f"{store.place}/{JOURNAL} cannot be read by this version ({error.error_count()} faults); finish the change "
            "with the version of slideprep that began it"
        ) from None


def unfinished(place: Place) -> str | None:
    """What to say where a change was interrupted while its files were exchanged; None where none was."""
    journal = read_journal(open_store(place))
    if journal is None:
        return None
    return (
        f"slideprep {journal.request.operation} was interrupted while it exchanged files in {place}; run the same "
        "command again: it finishes first, as do add-slides, remove-slides and relabel with anything else"
    )


def refuse_unfinished(place: Place) -> None:
    """Raise UsageError where a change was interrupted while its files were exchanged."""
    message = unfinished(place)
    if message is not None:
        raise UsageError(message)


def finish(store: Store) -> Journal | None:
    """Carry out the journal of a set, if there is one; only under the lock.

    Returns:
        The journal that was carried out, or None.

    Raises:
        OutputError: A file cannot be moved or removed; the journal stays.
    """
    journal = read_journal(store)
    if journal is not None:
        _carry_out(journal, store)
    return journal


def _carry_out(journal: Journal, store: Store) -> None:
    store.tidy()  # a kill in the middle of writing the journal leaves half of it
    # The new index may be in place already: then the move below has nothing to do, and this must not remove it.
    if store.stat(f"{NEXT}/{INDEX_NAME}") is not None:
        store.remove(INDEX_NAME)
    for path in journal.removes:
        store.remove(path)
    for path in journal.moves:
        if store.stat(f"{NEXT}/{path}") is None:
            continue  # moved before an interruption
        with output_errors(store.place / path), store.fetched(f"{NEXT}/{path}") as file:
            store.publish(file, path)
        store.remove(f"{NEXT}/{path}")
    discard(store)
    store.remove(JOURNAL)


def discard(store: Store) -> None:
    """Remove what is below ``next``."""
    for path in store.list(NEXT):
        store.remove(path)


def begin(store: Store, request: Request, *, abandon: bool, scratch: Path | None) -> Store:
    """The folder in which a change grows, with what an interrupted run of the same change left in it.

    Scans that another change left serve this one, since they are known by their content.

    Args:
        store: The set.
        request: What is asked.
        abandon: Give up an unfinished change of another kind; else it is refused.
        scratch: As for :func:`slideprep.storage.open.open_store`.

    Raises:
        UsageError: Another change was begun, wrote shards, and was not finished.
    """
    staging = open_store(store.place / NEXT, scratch=scratch)
    staging.tidy()
    if _asked(staging) != request and staging.list(f"{WORKSPACE}/shards"):
        if not abandon:
            earlier = _asked(staging)
            raise UsageError(
                f"another change of {store.place} was begun and not finished"
                f"{'' if earlier is None else f' ({earlier.operation})'}; the set is as it was. Run that command again "
                "to finish it, or add --abandon to give it up"
            )
        discard(store)
    staging.write(_REQUEST, request.model_dump_json().encode())
    return staging


def _asked(staging: Store) -> Request | None:
    try:
        return Request.model_validate_json(staging.read(_REQUEST))
    except (OSError, ValidationError):
        return None


def commit(store: Store, request: Request, *, moves: Iterable[str], removes: Iterable[str]) -> None:
    """Put a prepared change in place.

    Args:
        store: The set.
        request: What was asked.
        moves: Paths below ``next`` that move to the same place in the set; the index is added to them.
        removes: Paths that go.

    Raises:
        OutputError: The set cannot be written to; the change goes on when the command is run again.
    """
    journal = Journal(request=request, moves=(*moves, INDEX_NAME), removes=tuple(removes))
    store.write(JOURNAL, journal.model_dump_json().encode())
    _carry_out(journal, store)
