"""A finished build in, the records of preview.html out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import overload

import slideprep
from slideprep.building.finished import Finished, class_table, is_synthetic
from slideprep.building.identity import created_by
from slideprep.preview.model import PreviewQuality
from slideprep.preview.page import PreviewRegion, PreviewSet, PreviewSlide, PreviewTable
from slideprep.regions.layout import Grid, sizes_px
from slideprep.regions.scan import FoundRegion, Scan
from slideprep.shards.format import key_for
from slideprep.units import Box

Thumbnails = Callable[[str], bytes | None]


class _Slides(Sequence[PreviewSlide]):
    """The records of a set's slides, made when they are asked for: all at once would take gigabytes.

    Going through them gives records without thumbnails; one that is asked for by its position has its own.
    """

    def __init__(self, finished: Finished, thumbnails: Thumbnails) -> None:
        self._finished = finished
        self._thumbnails = thumbnails
        self._failures: dict[str, list[str]] = {}
        for failure in finished.failures:
            if failure.region is None:  # a region's own are shown with the region
                self._failures.setdefault(failure.slide, []).append(failure.reason)
        self._names = sorted({*finished.prepared.plan.slides, *self._failures})

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Iterator[PreviewSlide]:
        return map(self._record, self._names)

    @overload
    def __getitem__(self, position: int) -> PreviewSlide: ...
    @overload
    def __getitem__(self, position: slice) -> Sequence[PreviewSlide]: ...
    def __getitem__(self, position: int | slice) -> PreviewSlide | Sequence[PreviewSlide]:
        if isinstance(position, slice):
            return [self[one] for one in range(len(self))[position]]
        name = self._names[position]
        scan = self._finished.scans.get(name)
        picture = self._finished.pictures.get(name)
        if scan is not None:
            picture = scan.thumbnail or self._thumbnails(name)
        return replace(self._record(name), thumbnail_jpeg=picture)

    def _record(self, name: str) -> PreviewSlide:
        return _preview_slide(name, self._finished, tuple(self._failures.get(name, ())))


def preview_set(finished: Finished, title: str, thumbnails: Thumbnails) -> PreviewSet:
    """The records behind preview.html.

    Args:
        finished: The build.
        title: Title of the page.
        thumbnails: Gives the thumbnail of a slide by name, for scans that come without theirs.
    """
    table = class_table(finished.prepared, finished.samples.values())
    config, plan = finished.config, finished.prepared.plan
    shape = table.as_dict()
    return PreviewSet(
        title=title,
        slides=_Slides(finished, thumbnails),
        synthetic=is_synthetic(finished),
        magnifications=config.magnifications,
        classes=plan.classes,
        table=PreviewTable(
            caption="Tissues, slides and patients by class and set.",
            header=tuple(map(str, shape["header"])),
            rows=tuple(tuple(map(str, row)) for row in shape["rows"]),
        ),
        settings={name: json.dumps(value, ensure_ascii=False) for name, value in config.record.items()},
        tool_versions={"slideprep": slideprep.__version__, **created_by().libraries},
    )


def _preview_slide(name: str, finished: Finished, failures: tuple[str, ...]) -> PreviewSlide:
    plan = finished.prepared.plan.slides.get(name)
    scan = finished.scans.get(name)
    warnings = (*(scan.warnings if scan else ()), *([plan.left_out] if plan and plan.left_out else []))
    return PreviewSlide(
        name=name,
        patient=plan.patient if plan else None,
        label=plan.label if plan and plan.keeps_label else None,
        split=plan.split if plan else None,
        reader=scan.reader if scan else None,
        vendor=scan.vendor if scan else None,
        width_l0=scan.width if scan else None,
        height_l0=scan.height if scan else None,
        mpp=scan.scale.mpp if scan else None,
        mpp_source=scan.scale.mpp_source if scan else None,
        objective=scan.scale.objective if scan else None,
        objective_source=scan.scale.objective_source if scan else None,
        regions=_preview_regions(scan, finished) if scan else (),
        warnings=warnings,
        failures=failures,
    )


def _preview_regions(scan: Scan, finished: Finished) -> tuple[PreviewRegion, ...]:
    """The slide's regions, then the stained tissue that is in none, numbered as in left_out.csv."""
    lost = (
        PreviewRegion(box=piece.box, name=f"r{number}", status="left out", reason=piece.reason)
        for number, piece in enumerate(scan.left_out, start=len(scan.regions))
        if piece.box is not None
    )
    return (*(preview_region(region, scan.name, finished) for region in scan.regions), *lost)


def preview_region(region: FoundRegion, slide: str, finished: Finished) -> PreviewRegion:
    """What became of a region, and how good it is to see: a line of regions.csv, too.

    Args:
        region: One of its scan's.
        slide: Name of its slide.
        finished: The build.
    """
    left_out = region.left_out or finished.refused_regions.get((slide, region.index))
    quality = finished.quality.get(key_for(slide, region.index))
    failed = finished.failed_regions.get((slide, region.index))
    box: Box = region.tissue
    sizes: tuple[tuple[float, int, int], ...] = ()
    if region.layout is not None:
        pixels = sizes_px(region.layout, finished.config.magnifications)
        sizes = tuple((m, *pixels[m]) for m in finished.config.magnifications)
        scan = finished.scans[slide]
        cell = Grid(scan.scale, finished.config.magnifications).cell_l0
        box = Box(
            x=region.layout.x,
            y=region.layout.y,
            width=round(region.layout.columns * cell),
            height=round(region.layout.rows * cell),
        )
    return PreviewRegion(
        box=box,
        name=f"r{region.index}",
        class_name=region.class_name,
        status="failed" if failed else "left out" if left_out else "written",
        reason=failed or left_out,
        sizes=sizes,
        quality=None if quality is None else PreviewQuality(**quality.model_dump()),
    )
