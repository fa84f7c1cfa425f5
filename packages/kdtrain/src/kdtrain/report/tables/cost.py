"""What every run cost and what it is: time and computation, settings, and the hashes that tell it from any other."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

from kdtrain.report.model import Cell, Row, Table
from kdtrain.report.runs.results import Results
from kdtrain.report.runs.run import Run
from kdtrain.report.runs.shapes import chosen_text
from kdtrain.report.tables.cells import ABSENT, NONE
from kdtrain.shards.models import magnification_name
from kdtrain.training.run_folder import cost_hours
from kdtrain.training.shape import Shape, shape_texts

_USUAL = {"width": "1", "stem": "standard"}
"""What a network is whose record does not say."""
SHORT_HASH = 12
"""Hex digits shown of a SHA-256: no two of a person's runs share them."""


def cost_table(results: Results) -> Table:
    """A row per run: a forward pass, its share of the teacher's, what training took, what state the run is in."""
    runs = [run for group in results.groups for run in group.runs]
    teacher = results.teacher
    reference = teacher.gflops if teacher else None
    shapes = _shapes(runs)
    first = [ABSENT] * bool(shapes)
    missing = [
        Row(heading=run.name, cells=(*first, *[ABSENT] * 7, Cell(text=run.state, note=run.reason)))
        for run in results.collection.missing
    ]
    return Table(
        name="cost",
        title="What every run costs",
        caption="GFLOPs: billions of floating-point operations of a forward pass, two per multiply-add of convolutions "
        f"and the fully connected layer, averaged over the images of the split {results.collection.split}; megapixels "
        "likewise. Device-hours: wall time of training, validation included, times the number of processes, each with "
        "a GPU or a CPU of its own; every start of a resumed run counts."
        + " Of folds, hours are of all together, and the kept step is their mean." * bool(results.folds_said)
        + " Runs without them were trained before they were kept, and are in no sum."
        * any(not run.sessions for run in runs),
        corner="Run",
        columns=(
            *["Shape"] * bool(shapes),
            "GFLOPs",
            "of the teacher's",
            "Megapixels",
            "Parameters",
            "Kept step",
            "Device-hours",
            "Device",
            "State",
        ),
        rows=(
            *(_cost_row(run, reference, shapes[n : n + 1]) for n, run in enumerate(runs)),
            *missing,
            *_total_rows(runs, first),
        ),
    )


def common_settings_table(results: Results) -> Table:
    """What all runs have in common."""
    runs = [run for group in results.groups for run in group.runs]
    common = {key: values[0] for key, values in _settings(runs).items() if len(set(values)) == 1}
    return Table(
        name="settings-shared",
        title="The same for all runs",
        caption="Settings by the names of their options; versions of the libraries they were trained with.",
        corner="Setting",
        columns=("Value",),
        rows=tuple(Row(heading=key, cells=(Cell(text=value),)) for key, value in common.items()),
    )


def own_settings_table(results: Results) -> Table:
    """What tells the runs apart."""
    runs = [run for group in results.groups for run in group.runs]
    own = {key: values for key, values in _settings(runs).items() if len(set(values)) > 1}
    own["weights sha256"] = [run.weights_sha256[:SHORT_HASH] for run in runs]
    return Table(
        name="settings",
        title="What differs between runs",
        caption=f"Hashes are cut to {SHORT_HASH} digits; run.json and metrics.json have them in full.",
        corner="Run",
        columns=tuple(own),
        rows=tuple(
            Row(heading=run.name, cells=tuple(Cell(text=values[number]) for values in own.values()))
            for number, run in enumerate(runs)
        ),
    )


def ratio_text(ratio: float) -> str:
    """A share of the teacher's cost: "1/64", "1/2.5" where a whole number is over 5 % off, above a half "0.75"."""
    if ratio > 0.5:
        return f"{ratio:.2g}"
    whole = round(1 / ratio)
    return f"1/{whole}" if abs(whole * ratio - 1) <= 0.05 else f"1/{1 / ratio:.2g}"


def _shapes(runs: Sequence[Run]) -> tuple[str, ...]:
    """The network of each in words; none where all are the paper's."""
    shapes = [Shape.of(run.record["network"]) for run in runs]
    if all(shape.is_papers for shape in shapes) and len({shape.model for shape in shapes}) == 1:
        return ()
    return shape_texts(shapes)


def _cost_row(run: Run, reference: float | None, shape: Sequence[str]) -> Row:
    hours = cost_hours(run.sessions) if run.sessions else None
    ratio = None if reference is None else run.cost.gflops / reference
    return Row(
        heading=run.name,
        cells=(
            *(Cell(text=words) for words in shape),
            _number(run.cost.gflops),
            ABSENT if ratio is None else Cell(text=ratio_text(ratio), value=ratio),
            _number(run.cost.megapixels),
            Cell(text=f"{run.parameters:,}", value=float(run.parameters)),
            Cell(text=f"{run.chosen_step:,}", value=float(run.chosen_step)),
            ABSENT if hours is None else _number(hours),
            Cell(text=_devices(run)),
            Cell(text="evaluated"),
        ),
    )


def _total_rows(runs: Sequence[Run], first: Sequence[Cell]) -> Iterable[Row]:
    """Hours by device: those of a GPU and of a CPU are not the same thing."""
    sessions = [session for run in runs for session in run.sessions]
    for device in sorted({session.device for session in sessions}):
        total = cost_hours([session for session in sessions if session.device == device])
        yield Row(
            heading=f"all runs on {device}",
            cells=(*first, *[ABSENT] * 5, _number(total), Cell(text=device), ABSENT),
        )


def _devices(run: Run) -> str:
    used = dict.fromkeys(f"{s.processes} × {s.device}" for s in run.sessions)
    return ", ".join(used) or NONE


def _number(value: float) -> Cell:
    return Cell(text=f"{value:.3g}", value=value)


def _settings(runs: Sequence[Run]) -> dict[str, list[str]]:
    """Every setting's text for every run, in the order of the runs."""
    records = [_record(run) for run in runs]
    usual = {
        name: value for name, value in _USUAL.items() if any(name in run.record["network"] for run in runs)
    }
    records = [{**usual, **record} for record in records]
    keys = dict.fromkeys(key for record in records for key in record)
    return {key: [record.get(key, NONE) for record in records] for key in keys}


def _record(run: Run) -> Mapping[str, str]:
    shard_set, network = run.record["shard_set"], run.record["network"]
    settings = {key: _shown(value) for key, value in sorted(run.settings.items())}
    return {
        "method": run.method,
        "phase": run.phase,
        "magnification": magnification_name(run.magnification),
        **{key: value for key, value in settings.items() if key not in {"phase", "magnification"}},
        # The settings hold what was asked for; these are what it came to.
        "validate_on": _shown(shard_set.get("validate_on")),
        "model": str(network["model"]),
        "output_stride": chosen_text(run.record),
        **{name: _shown(network[name]) for name in _USUAL if name in network},
        "chosen by": str(shard_set["chosen_by"]),
        "trained on shard set sha256": shard_set["sha256"][:SHORT_HASH],
        "evaluated on shard set sha256": run.shard_set_sha256[:SHORT_HASH],
        **{f"version of {name}": text for name, text in sorted(run.record.get("versions", {}).items())},
    }


def _shown(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "none" if value is None else json.dumps(value)
