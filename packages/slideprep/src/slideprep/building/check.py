"""A finished set in, a report out: what ``slideprep verify`` and a script both call."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from slideprep.errors import UsageError
from slideprep.shards.verify.report import Report
from slideprep.shards.verify.verify import verify as verify_set
from slideprep.storage.places import Place, place
from slideprep.workers.executor import usable_cores


def verify(
    directory: Place | str,
    *,
    quick: bool = False,
    workers: int | None = None,
    scratch: Path | None = None,
    progress: bool = False,
) -> Report:
    """Check a shard set against every rule of shards/SHARD_FORMAT.md, as ``slideprep verify`` does; nothing is written.

    Args:
        directory: The folder that holds index.json, or its address.
        quick: Sizes and checksums only, which proves that the bytes are those that were written.
        workers: Tars checked at a time; None for one per core. The report does not depend on it.
        scratch: Local folder for tars that are fetched; None for the system's temporary folder.
        progress: Show a bar on standard error; else nothing is printed.

    Returns:
        Every fault, in the order of the files; ``report.ok`` where there is none.

    Raises:
        UsageError: There is no such folder.
        OutputError: A store does not answer.
    """
    directory = place(directory)
    if isinstance(directory, Path) and not directory.is_dir():
        raise UsageError(f"{directory} is not a folder; give the folder that holds index.json")
    with Progress(console=Console(stderr=True), transient=True, disable=not progress) as bar:
        task = bar.add_task("Checking tars")
        return verify_set(
            directory,
            quick=quick,
            workers=workers or usable_cores(),
            progress=lambda done, total: bar.update(task, completed=done, total=total),
            scratch=scratch,
        )
