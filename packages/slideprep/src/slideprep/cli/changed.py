"""What a person reads after a set was changed: before and after, split by split."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from slideprep.cli.foreign import about_options
from slideprep.shards.grouped import failure_lines
from slideprep.text import count, screen_line

if TYPE_CHECKING:
    from slideprep.growing.change import Outcome
    from slideprep.shards.format import Index, SplitEntry

_SHOWN = 8
_MEASURES = ("shards", "samples", "slides", "patients")


def print_outcome(outcome: Outcome, console: Console) -> None:
    """Say what changed."""
    for note in outcome.notes:
        console.print(screen_line(f"note: {note}", style="yellow"))
    failures = outcome.failures
    lines = failure_lines(failures)
    for line in lines[:_SHOWN]:
        console.print(screen_line(f"failed: {line}", style="red"))
    if len(lines) > _SHOWN:
        console.print(screen_line(f"and {len(lines) - _SHOWN:,} more reasons", style="red"))
    if (told := about_options("\n".join(lines))) is not None:
        console.print(screen_line(told))
    if outcome.after is outcome.before:
        return
    console.print(_table(outcome.before, outcome.after))
    for line in (*_classes(outcome), *_sets(outcome), *_statistics(outcome)):
        console.print(screen_line(line))
    shards = outcome.shards
    more = f" and {len(shards) - _SHOWN:,} more" if len(shards) > _SHOWN else ""
    console.print(
        screen_line(
            f"shards written: {', '.join(shards[:_SHOWN]) or 'none'}{more}; all others keep every byte"
        )
    )
    if failures:
        console.print(
            screen_line(
                f"{count(len(failures), 'input')} failed: {outcome.out / 'failures.csv'}", style="red"
            )
        )
    console.print(screen_line(f"check    slideprep verify {outcome.out}"))


def _table(before: Index, after: Index) -> Table:
    table = Table(title="Before and after", title_justify="left", box=None, pad_edge=False)
    table.add_column("split")
    for measure in _MEASURES:
        table.add_column(measure, justify="right")
    for name in sorted({*before.splits, *after.splits}):
        old, new = before.splits.get(name), after.splits.get(name)
        table.add_row(name, *(_both(_count(old, measure), _count(new, measure)) for measure in _MEASURES))
    return table


def _count(split: SplitEntry | None, measure: str) -> int:
    return 0 if split is None else int(getattr(split, measure))


def _both(old: int, new: int) -> str:
    return f"{new:,}" if old == new else f"{old:,} > {new:,}"


def _classes(outcome: Outcome) -> list[str]:
    before, after = outcome.before, outcome.after
    lines = []
    for name in after.classes:
        old, new = (
            {split: (entry.per_class or {}).get(name, 0) for split, entry in index.splits.items()}
            for index in (before, after)
        )
        changes = [
            f"{split} {_both(old.get(split, 0), new[split])}"
            for split in new
            if old.get(split, 0) != new[split]
        ]
        if changes:
            lines.append(f"samples of class {name}: {', '.join(changes)}")
    return lines


def _sets(outcome: Outcome) -> list[str]:
    new = [name for name in outcome.after.sets if name not in outcome.before.sets]
    return [f"new set: {name} = {' + '.join(outcome.after.sets[name])}" for name in new]


def _statistics(outcome: Outcome) -> list[str]:
    before, after = outcome.before, outcome.after
    if before.statistics != after.statistics:
        values = [
            f"{name} mean {_rgb(old.mean)} > {_rgb(new.mean)}"
            for name, new in (after.statistics or {}).items()
            if (old := (before.statistics or {}).get(name)) is not None
        ]
        told = f": {'; '.join(values)}" if values else ""
        return [f"colour statistics are new{told}; runs made before used the old ones"]
    counted, train = after.statistics_shards, after.splits.get("train")
    if counted is None or train is None or len(counted) == train.shards:
        return []
    return [
        f"colour statistics are those of {len(counted):,} of {train.shards:,} shards of train, as before; "
        "--update-statistics computes them over all"
    ]


def _rgb(values: tuple[float, float, float]) -> str:
    return "/".join(f"{value:.2f}" for value in values)
