"""A finished build in, the files that describe the set out: index.json last, its sidecars before it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from slideprep.building.croissant import said_of, write_croissant
from slideprep.building.finished import Finished, build_index, class_table
from slideprep.building.preview import preview_region, preview_set
from slideprep.building.state import STATE_PATH, dump_state
from slideprep.building.workspace import Workspace
from slideprep.preview.model import QUALITY, PreviewQuality, worst
from slideprep.preview.page import write_preview
from slideprep.regions.scan import Scan
from slideprep.shards.format import INDEX_NAME, Index, dump_index, key_for
from slideprep.shards.records import Failure
from slideprep.storage.files import output_errors, write_atomically
from slideprep.storage.open import open_store
from slideprep.storage.places import Place
from slideprep.storage.store import Store
from slideprep.text import csv_text, short_name
from slideprep.tissue.annotation_files import regions_geojson


def write_outputs(finished: Finished, out: Place | Store, *, scratch: Path | None = None) -> Index:
    """Write the sidecars, then index.json.

    Args:
        finished: The build.
        out: The set's folder, its address, or the store that is there.
        scratch: As for :func:`slideprep.storage.open.open_store`.

    Raises:
        OutputError: The folder cannot be written to.
    """
    write_sidecars(finished, out, scratch=scratch)
    store = open_store(out, scratch=scratch)
    store.write(STATE_PATH, dump_state(finished))
    index = build_index(finished)
    store.write(INDEX_NAME, dump_index(index))
    return index


def write_sidecars(
    finished: Finished, out: Place | Store, *, scratch: Path | None = None, scans_in: Sequence[Store] = ()
) -> None:
    """Write the files that people read, preview.html and the CSV tables; and croissant.json where there is one.

    Args:
        finished: The build.
        out: Where to write them.
        scratch: As for :func:`slideprep.storage.open.open_store`.
        scans_in: The set as it was, whose workspace keeps scans, for their thumbnails.

    Raises:
        OutputError: The folder cannot be written to.
        UsageError: croissant.json is damaged.
    """
    store = open_store(out, scratch=scratch)
    table = class_table(finished.prepared, finished.samples.values())
    store.write("failures.csv", _rows_csv(finished.all_failures))
    store.write("left_out.csv", _rows_csv(finished.left_out))
    store.write("regions.csv", _regions_csv(finished))
    store.write("slides.csv", _slides_csv(finished))
    store.write("splits.csv", table.as_csv().encode())
    page = store.scratch() / "preview.html"
    with output_errors(page):
        title = finished.config.out.resolve().name
        write_preview(
            preview_set(finished, title, _thumbnails([Workspace(place) for place in (store, *scans_in)])),
            page,
        )
    store.publish(page, "preview.html")
    for place in (store, *scans_in):
        if (said := said_of(place)) is not None:
            index = build_index(finished)
            write_croissant(store, finished, index, dump_index(index), said)
            break


def _thumbnails(workspaces: Sequence[Workspace]) -> Callable[[str], bytes | None]:
    """Gives the thumbnail of a slide by name, from the first scan of it that is kept; None where none is."""

    def thumbnail(name: str) -> bytes | None:
        for workspace in workspaces:
            with suppress(OSError, ValueError):
                return workspace.kept_scan(name).thumbnail
        return None

    return thumbnail


def _rows_csv(rows: Iterable[Failure]) -> bytes:
    header = ("slide", "region", "stage", "reason")
    return csv_text([header, *([row.slide, row.region, row.stage, row.reason] for row in rows)]).encode()


_SLIDE_COLUMNS = (
    "slide", "patient", "label", "split", "regions", "width", "height", "mpp", "mpp_source", "objective",
    "objective_source", "vendor", "reader", "fingerprint", "warnings", *QUALITY,
)  # fmt: skip
"""The last four are those of the slide's worst region."""


def _regions_csv(finished: Finished) -> bytes:
    rows: list[Sequence[object]] = [
        ("slide", "region", "key", "status", "x", "y", "width", "height", *QUALITY)
    ]
    for name, scan in sorted(finished.scans.items()):
        for found in scan.regions:
            region = preview_region(found, name, finished)
            place = (region.box.x, region.box.y, region.box.width, region.box.height)
            key = key_for(name, found.index)
            rows.append((name, found.index, key, region.status, *place, *_measures(region.quality)))
    return csv_text(rows).encode()


def _measures(quality: PreviewQuality | None) -> list[float | None]:
    return [None if quality is None else getattr(quality, name) for name in QUALITY]


def _worst(finished: Finished, scan: Scan) -> PreviewQuality | None:
    """Of a slide's regions."""
    regions = (preview_region(region, scan.name, finished) for region in scan.regions)
    return worst([region.quality for region in regions if region.quality is not None])


def _slides_csv(finished: Finished) -> bytes:
    written = Counter(sample.slide for sample in finished.samples.values())
    rows: list[Sequence[object]] = [_SLIDE_COLUMNS]
    for name, slide in sorted(finished.prepared.plan.slides.items()):
        scan = finished.scans.get(name)
        known: list[object] = [None] * (10 + len(QUALITY))
        if scan is not None:
            scale = scan.scale
            known = [
                scan.width, scan.height, scale.mpp, scale.mpp_source, scale.objective, scale.objective_source,
                scan.vendor, scan.reader, scan.fingerprint, "; ".join(scan.warnings),
                *_measures(_worst(finished, scan)),
            ]  # fmt: skip
        label = slide.label if slide.keeps_label else None
        rows.append([name, slide.patient, label, slide.split, written[name], *known])
    return csv_text(rows).encode()


def save_regions(scans: Iterable[Scan], folder: Path) -> None:
    """Write each slide's regions as GeoJSON that QuPath opens and ``--annotations`` takes."""
    for scan in scans:
        regions = [
            (region.tissue, region.class_name, region.name or f"r{region.index}") for region in scan.regions
        ]
        text = json.dumps(regions_geojson(regions), indent=1, ensure_ascii=False)
        write_atomically(folder / f"{short_name(scan.name)}.geojson", text.encode())
