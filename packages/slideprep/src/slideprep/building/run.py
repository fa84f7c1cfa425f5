"""Settings in, a finished set out, whatever stood there before: what ``slideprep build-shards`` and a script both call.

Nothing is printed but to the console that is given; what reads slides is imported when there is something to read.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console

from slideprep.building.config import BuildConfig
from slideprep.building.earlier import EarlierBuild, earlier_build
from slideprep.building.prepare import prepare
from slideprep.shards.format import dump_index
from slideprep.shards.journal import refuse_unfinished
from slideprep.shards.records import Failure
from slideprep.storage.places import Place

if TYPE_CHECKING:
    from slideprep.building.build import Built


@dataclass(frozen=True, kw_only=True)
class BuildResult:
    """A finished shard set, and what became of everything that was to go into it.

    Attributes:
        out: Its folder, or its address.
        index: The content of index.json (shards/SHARD_FORMAT.md): ``index["counts"]``, ``index["splits"]``, ...
        failures: Slides and regions that are not in the set because something is wrong with them; rows of failures.csv.
        left_out: Slides and regions that are not in the set by a rule; rows of left_out.csv.
        warnings: Plain sentences about the run as a whole. Where nothing was done, those that need no slide opened.
        already_finished: Whether an earlier call, or the command, had finished it, so that nothing was done.
    """

    out: Place
    index: dict[str, Any]
    failures: tuple[Failure, ...]
    left_out: tuple[Failure, ...]
    warnings: tuple[str, ...]
    already_finished: bool

    @property
    def complete(self) -> bool:
        """Whether no input failed: the command's exit code is then 0, else 3."""
        return not self.failures


def build(config: BuildConfig, *, progress: bool = False) -> BuildResult:
    """Build a shard set as ``slideprep build-shards`` does, byte for byte.

    A call that was interrupted is gone on with by the same call, or by the command; one that finds its set finished
    does nothing. Worker processes are started and ended (``workers=0`` for none); a Ray that this process started is
    used and left running.

    Args:
        config: The slides, the folder and the settings: the command's options under the same names.
        progress: Show on standard error what the command shows; else nothing is printed.

    Raises:
        UsageError: The inputs do not fit together, or the folder holds something else; nothing was written.
        InputError: Not one region can be used; the folder's failures.csv and left_out.csv say why.
        OutputError: The folder cannot be written to; finished shards are kept.
        ClusterError: Ray failed; finished shards are kept.
    """
    # a console that is quiet and a terminal would swallow what the caller prints meanwhile
    silent = Console(quiet=True, force_terminal=False, force_jupyter=False)
    done = build_or_find(config, Console(stderr=True) if progress else silent)
    if isinstance(done, EarlierBuild):
        return BuildResult(
            out=config.out,
            index=done.index,
            failures=done.failures,
            left_out=done.left_out,
            warnings=done.prepared.warnings,
            already_finished=True,
        )
    return BuildResult(
        out=config.out,
        index=json.loads(dump_index(done.index)),
        failures=tuple(done.finished.all_failures),
        left_out=tuple(done.finished.left_out),
        warnings=tuple(done.finished.warnings),
        already_finished=False,
    )


def build_or_find(config: BuildConfig, console: Console) -> Built | EarlierBuild:
    """Build a set, go on with it, or find that it is finished.

    Args:
        config: The settings.
        console: For progress.

    Raises:
        UsageError: The inputs do not fit together, or the folder holds something else.
        InputError: Not one region can be used.
        OutputError: The folder cannot be written to.
        ClusterError: Ray failed.
    """
    refuse_unfinished(config.out)
    prepared = prepare(config)
    console.print(prepared.found_words, highlight=False)
    earlier = earlier_build(config, prepared)
    if earlier is not None:
        return earlier
    from slideprep.building.build import build_shards  # imports what reads slides, which takes a second

    return build_shards(config, prepared, console)
