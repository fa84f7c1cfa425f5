"""The last screen of a build or a plan: what was written, what was not, what to look at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from slideprep.building.config import BuildConfig
from slideprep.building.plan import BYTES_PER_PX
from slideprep.shards.format import INDEX_NAME, Index, magnification_name
from slideprep.shards.grouped import failure_lines
from slideprep.shards.records import Failure
from slideprep.storage.places import Place
from slideprep.text import count, screen_line
from slideprep.units import grid_px

if TYPE_CHECKING:
    from slideprep.building.build import Built
    from slideprep.building.plan import Planned
    from slideprep.building.run import EarlierBuild
    from slideprep.regions.scan import Scan

_SHOWN = 8


def print_summary(built: Built, console: Console, *, seconds: float) -> None:
    """Say what a finished build holds."""
    from slideprep.building.finished import class_table

    finished, index = built.finished, built.index
    console.print(class_table(finished.prepared, finished.samples.values()).as_rich())
    console.print(_sizes(index))
    _print_list(console, "warning", finished.warnings, "yellow")
    _print_slide_warnings(console, finished.scans.values())
    _print_list(console, "failed", failure_lines(finished.all_failures), "red")
    out = finished.config.out
    counts = index.counts
    console.print(
        screen_line(
            f"{count(counts.regions, 'region')} of {count(counts.slides, 'slide')} and "
            f"{count(counts.patients, 'patient')} in {count(len(index.shards), 'shard')}, {seconds:,.0f} s"
        )
    )
    if finished.all_failures:
        console.print(
            screen_line(
                f"{count(len(finished.all_failures), 'input')} failed: {out / 'failures.csv'}", style="red"
            )
        )
    if finished.left_out:
        console.print(screen_line(f"{len(finished.left_out):,} left out by rule: {out / 'left_out.csv'}"))
    console.print(screen_line(f"look at  {out / 'preview.html'}"))
    console.print(screen_line(f"check    slideprep verify {out}"))


def _sizes(index: Index) -> Table:
    table = Table(title="Images", title_justify="left", box=None, pad_edge=False)
    for column in ("magnification", "images", "megapixels", "largest", "bytes"):
        table.add_column(column, justify="right")
    for magnification in index.magnifications:
        name = magnification_name(magnification)
        sizes = [
            (c * index.grid[name], r * index.grid[name]) for shard in index.shards for c, r in shard.cells
        ]
        largest = max(sizes, key=lambda size: size[0] * size[1], default=(0, 0))
        table.add_row(
            name,
            f"{len(sizes):,}",
            f"{sum(w * h for w, h in sizes) / 1e6:,.1f}",
            f"{largest[0]:,} x {largest[1]:,}",
            _bytes(sum(shard.files[name].bytes for shard in index.shards)),
        )
    return table


def _bytes(count: float) -> str:
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def _print_slide_warnings(console: Console, scans: Iterable[Scan]) -> None:
    """Warnings of slides, the same sentence once with the number of slides that it concerns."""
    slides: dict[str, list[str]] = {}
    for scan in scans:
        for warning in scan.warnings:
            slides.setdefault(warning, []).append(scan.name)
    lines = [
        f"{names[0]}{f' and {len(names) - 1:,} more' if len(names) > 1 else ''}: {warning}"
        for warning, names in sorted(slides.items(), key=lambda item: -len(item[1]))
    ]
    _print_list(console, "warning", lines, "yellow")


def _print_list(console: Console, word: str, lines: Sequence[str], style: str) -> None:
    for line in lines[:_SHOWN]:
        console.print(screen_line(f"{word}: {line}", style=style))
    if len(lines) > _SHOWN:
        console.print(screen_line(f"and {len(lines) - _SHOWN:,} more", style=style))


def print_plan(config: BuildConfig, planned: Planned, console: Console) -> None:
    """Say what a build would write."""
    from slideprep.building.finished import class_table
    from slideprep.building.plan import shard_pixels

    samples = [sample for shard in planned.shards for sample in shard.samples]
    console.print(class_table(planned.prepared, samples).as_rich())
    grid = grid_px(config.magnifications)
    table = Table(title="Images, as estimated", title_justify="left", box=None, pad_edge=False)
    for column in ("magnification", "images", "megapixels", "largest", "about"):
        table.add_column(column, justify="right")
    for magnification in config.magnifications:
        px = grid[magnification]
        sizes = [(s.layout.columns * px, s.layout.rows * px) for s in samples]
        largest = max(sizes, key=lambda size: size[0] * size[1], default=(0, 0))
        area = sum(w * h for w, h in sizes)
        table.add_row(
            magnification_name(magnification),
            f"{len(sizes):,}",
            f"{area / 1e6:,.1f}",
            f"{largest[0]:,} x {largest[1]:,}",
            _bytes(area * BYTES_PER_PX[config.image_format]),
        )
    console.print(table)
    shards = Counter(shard.split for shard in planned.shards)
    console.print(
        screen_line("shards: " + ", ".join(f"{count} {split}" for split, count in sorted(shards.items())))
    )
    pixels = sum(
        shard_pixels(shard, planned.scanned.scans, config.magnifications) for shard in planned.shards
    )
    slides = sum(scan.width * scan.height for scan in planned.scanned.scans.values())
    if slides:
        console.print(
            screen_line(
                f"to decode: {pixels / 1e6:,.0f} of {slides / 1e6:,.0f} megapixels ({pixels / slides:.0%})"
            )
        )
    _print_list(console, "left out by rule", _left_out(planned), "")
    _print_list(console, "warning", planned.warnings, "yellow")
    _print_slide_warnings(console, planned.scanned.scans.values())
    _print_list(console, "failed", failure_lines(planned.failures), "red")
    if planned.failures:
        console.print(screen_line(f"{count(len(planned.failures), 'input')} cannot be used", style="red"))


def _left_out(planned: Planned) -> list[str]:
    """Regions that would not be written, by reason."""
    return failure_lines(
        Failure(slide=scan.name, region=region.index, stage="layout", reason=region.left_out)
        for scan in planned.scanned.scans.values()
        for region in scan.regions
        if region.left_out is not None
    )


def print_earlier(out: Place, earlier: EarlierBuild, console: Console) -> None:
    """Say that an earlier run finished the set in a folder."""
    console.print(
        screen_line(f"{out} is complete: an earlier run of this command finished it, nothing to do")
    )
    console.print(screen_line(f"check    slideprep verify {out}"))
    if earlier.failures:
        console.print(
            screen_line(
                f"{count(len(earlier.failures), 'input')} failed then: {out / 'failures.csv'}; to try them again, "
                f"delete {out / INDEX_NAME} and run the command once more",
                style="red",
            )
        )
