"""A finished build in, the records of preview.html out."""

from __future__ import annotations

import json

import slideprep
from slideprep.finished import Finished, class_table
from slideprep.geometry import Box
from slideprep.layout import Grid, sizes_px
from slideprep.preview import PreviewRegion, PreviewSet, PreviewSlide, PreviewTable
from slideprep.scan import FoundRegion
from slideprep.set_index import created_by, is_synthetic


def preview_set(finished: Finished, title: str) -> PreviewSet:
    """The records behind preview.html."""
    table = class_table(finished.prepared, finished.samples.values())
    config, plan = finished.config, finished.prepared.plan
    shape = table.as_dict()
    slide_failures: dict[str, list[str]] = {}
    for failure in finished.failures:
        if failure.region is None:  # a region's own are shown with the region
            slide_failures.setdefault(failure.slide, []).append(failure.reason)
    names = sorted({*plan.slides, *slide_failures})
    return PreviewSet(
        title=title,
        slides=tuple(_preview_slide(name, finished, tuple(slide_failures.get(name, ()))) for name in names),
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
        thumbnail_jpeg=scan.thumbnail if scan else finished.pictures.get(name),
        regions=tuple(_preview_region(region, name, finished) for region in (scan.regions if scan else ())),
        warnings=warnings,
        failures=failures,
    )


def _preview_region(region: FoundRegion, slide: str, finished: Finished) -> PreviewRegion:
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
        status="failed" if failed else "left out" if region.left_out else "written",
        reason=failed or region.left_out,
        sizes=sizes,
    )
