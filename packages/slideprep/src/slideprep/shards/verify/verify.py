"""Prove a shard set: every rule of shards/SHARD_FORMAT.md, on every byte, naming each fault and not stopping at one.

In: the folder that build-shards wrote, or its address. Out: a Report. Nothing is written there, nothing is unpickled,
and a damaged file is a fault, never a crash. Checks that a fault makes impossible (the statistics of a split with an
unreadable tar) are listed as unchecked rather than passed.

Order: the index by itself (verify_index), the files it names (here), each tar by itself (verify_tar), and what ties
samples to each other and to the index (verify_set).

Memory: one tar at a time and worker is mapped, not read; of its images at most one is decoded at a time, whole up
to verify_image.WHOLE_LIMIT_PX and in strips beyond.
"""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from slideprep.shards.format import (
    DESCRIPTION,
    INDEX_NAME,
    SIDECARS,
    Index,
    ShardEntry,
    ShardFile,
    magnification_name,
)
from slideprep.shards.journal import unfinished
from slideprep.shards.verify.index import load_index, sound_shards
from slideprep.shards.verify.report import Fault, Report
from slideprep.shards.verify.samples import check_set
from slideprep.shards.verify.tar import TarFacts, TarPlace, check_tar
from slideprep.storage.files import OutputError
from slideprep.storage.open import open_store
from slideprep.storage.places import Place, place
from slideprep.storage.remote import UnansweredError
from slideprep.storage.store import Store

__all__ = ["Fault", "Report", "verify"]

WORKSPACE = ".slideprep"


def verify(
    directory: Place | str,
    *,
    workers: int = 1,
    quick: bool = False,
    progress: Callable[[int, int], None] | None = None,
    scratch: Path | None = None,
) -> Report:
    """Check a shard set against the contract.

    Args:
        directory: The folder that holds index.json, or its address.
        workers: Tars checked at a time; the report does not depend on it.
        quick: Only the index, sizes and checksums (F01 to F10), which proves that the bytes are those written.
        progress: Called with (tars done, tars in all) after each tar.
        scratch: Local folder for a tar of an object store, one for each worker at a time, while it is checked; None
            for the system's temporary folder.

    Returns:
        Every fault, in the order of the files, and what was counted.
    """
    directory = place(directory)
    if (interrupted := unfinished(directory)) is not None:
        fault = Fault(rule="F01 index-present", path=INDEX_NAME, message=interrupted)
        return Report(faults=(fault,), unchecked=("a set that is being changed",), counts={})
    index, faults = load_index(directory)
    if index is None:
        return Report(faults=tuple(faults), unchecked=("everything that the index would name",), counts={})
    store = open_store(directory, scratch=scratch)
    shards = sound_shards(index)
    unchecked = [] if len(shards) == len(index.shards) else ["shards whose entry in the index is at fault"]
    if shards == list(index.shards):
        faults += _foreign_files(store, index)
    else:
        unchecked.append("files that the index does not name")
    places = [
        TarPlace(index=index, shard=shard, magnification=m) for shard in shards for m in index.magnifications
    ]
    facts = []
    with ThreadPoolExecutor(max_workers=workers) as pool:
        for done, fact in enumerate(
            pool.map(lambda tar: _check_file(store, tar, quick=quick), places), start=1
        ):
            facts.append(fact)
            if progress is not None:
                progress(done, len(places))
    faults += [fault for fact in facts for fault in fact.faults]
    if quick:
        unchecked.append("the content of the tars (quick)")
    else:
        found, skipped = check_set(index, shards, facts)
        faults += found
        unchecked += skipped
    return Report(faults=tuple(faults), unchecked=tuple(unchecked), counts=_counts(shards, facts, index))


def _counts(shards: list[ShardEntry], facts: list[TarFacts], index: Index) -> dict[str, int]:
    return {
        "shards": len(shards),
        "tars": len(facts),
        "bytes": sum(fact.bytes for fact in facts),
        "samples": sum(shard.samples for shard in shards),
        "images_decoded": sum(fact.decoded for fact in facts),
        "magnifications": len(index.magnifications),
    }


def _foreign_files(store: Store, index: Index) -> Iterator[Fault]:
    tars = (file.path for shard in index.shards for file in shard.files.values())
    known = {INDEX_NAME, *SIDECARS, *DESCRIPTION, *tars}
    for name in store.list(""):
        if name in known or name.split("/")[0] == WORKSPACE:
            continue
        yield Fault(
            rule="F10 foreign-file", path=name, message="neither named by the index nor a sidecar; remove it"
        )


def _check_file(store: Store, place: TarPlace, *, quick: bool) -> TarFacts:
    file = place.shard.files[magnification_name(place.magnification)]
    with ExitStack() as stack:
        try:
            handle = stack.enter_context(stack.enter_context(store.fetched(file.path)).open("rb"))
            size = handle.seek(0, 2)
            # Not closed here: decoders may hold on to a view of it a little longer; it goes with the last one.
            mapped = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
        except UnansweredError as error:
            raise OutputError(
                f"cannot fetch {store.place}/{file.path}: {error.strerror}; check the network and the store, then "
                "verify again"
            ) from error
        except OSError as error:
            message = f"the index names this file, but it cannot be read: {error.strerror}"
            return TarFacts(
                place=place, faults=[Fault(rule="F07 file-present", path=file.path, message=message)]
            )
        return _check_bytes(place, file, memoryview(mapped), quick=quick)


def _check_bytes(place: TarPlace, file: ShardFile, data: memoryview, *, quick: bool) -> TarFacts:
    faults = []
    if len(data) != file.bytes:
        message = f"{len(data)} bytes, but the index says {file.bytes}"
        faults.append(Fault(rule="F08 file-size", path=file.path, message=message))
    elif hashlib.sha256(data).hexdigest() != file.sha256:
        faults.append(
            Fault(
                rule="F09 file-checksum", path=file.path, message="other bytes than those that were written"
            )
        )
    if quick:
        return TarFacts(place=place, bytes=len(data), faults=faults)
    facts = check_tar(place, data)
    facts.faults[:0] = faults
    return facts
