"""``kdtrain sweep --dry-run``: what every run would take, from the sizes of the real images; nothing is written.

Times come from a calibration of a few seconds on this machine, and hold for it alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from kdtrain.sweep.display import duration
from kdtrain.sweep.estimate.cost import RunEstimate, Speed, estimate_run, measure_speed
from kdtrain.sweep.jobs import Job, choices_of, source_of, warnings_of
from kdtrain.sweep.state import Progress
from kdtrain.text import plural
from kdtrain.training.shape import Shape, shape_texts

_WIDE_COLUMNS = 100
"""From here on there is room for what a run's name tells as well."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One run of the dry run.

    Attributes:
        job: What would run.
        progress: How far it is.
        estimate: Estimate of the whole run; None for one that exists and is only measured.
        seconds_left: Seconds of training, from where it is.
    """

    job: Job
    progress: Progress
    estimate: RunEstimate | None
    seconds_left: float


def estimates(jobs: Sequence[Job], progress: dict[str, Progress], *, threads: int | None) -> list[Row]:
    """What every run would take on this machine.

    Args:
        jobs: In order.
        progress: How far each is, by name.
        threads: That a run will have for its arithmetic; None for PyTorch's choice.

    Raises:
        UsageError: An image is too small for its network, or a GPU was asked for and there is none.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    speeds: dict[tuple[str, ...], Speed] = {}
    rows = []
    for job in jobs:
        estimate = None if job.config is None else _estimate(job, speeds)
        rows.append(
            Row(
                job=job,
                progress=progress[job.name],
                estimate=estimate,
                seconds_left=_seconds_left(estimate, progress[job.name]),
            )
        )
    return rows


def _estimate(job: Job, speeds: dict[tuple[str, ...], Speed]) -> RunEstimate:
    assert job.config is not None and job.index is not None
    config, network, index = job.config, job.network, job.index
    spec = network.spec
    shape = (str(spec.output_stride), str(spec.width), spec.stem)
    key = (spec.name, *shape, config.device, config.precision)
    if key not in speeds:
        image_format = index.document.image.format
        speeds[key] = measure_speed(
            config.device, spec, precision=config.precision, image_format=image_format
        )
    teacher = job.needs[0].network if job.run.phase == "distill" and job.needs else None
    return estimate_run(
        config, index, teacher=teacher, student=network, speed=speeds[key], source=source_of(job)
    )


def _seconds_left(estimate: RunEstimate | None, progress: Progress) -> float:
    if estimate is None or progress.stage in ("finished", "trained"):
        return 0.0
    return estimate.seconds * (1 - min(1.0, progress.step / estimate.steps))


def stage_text(progress: Progress) -> str:
    """How far a run is, in words."""
    if progress.stage == "begun" and progress.step:
        return f"goes on at step {progress.step:,}"
    return {"finished": "finished", "trained": "to be measured", "begun": "to do", "new": "to do"}[
        progress.stage
    ]


def print_rows(rows: Sequence[Row], console: Console, *, about: str, jobs: int) -> None:
    """Show the plan of a sweep.

    Args:
        rows: One a run.
        console: Where.
        about: What the recipe says of itself.
        jobs: Runs at a time.
    """
    if about.strip():
        console.print(Text(about.strip() + "\n"))
    table = Table(title=plural(len(rows), "run"), title_justify="left", box=SIMPLE_HEAD)
    wide = console.width >= _WIDE_COLUMNS
    table.add_column("run", overflow="fold")
    for heading in ("phase", "trains on") if wide else ():
        table.add_column(heading, overflow="fold")
    shapes = _shapes([row.job for row in rows]) if wide else ()
    for heading in ("shape",) if shapes else ():
        table.add_column(heading, overflow="fold")
    for heading in ("samples", "steps", "GFLOPs", "memory", "time"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("state")
    for number, row in enumerate(rows):
        run, config = row.job.run, row.job.config
        train_on = "-" if config is None else ",".join(config.train_on)
        more = ((run.phase, train_on) if wide else ()) + shapes[number : number + 1]
        table.add_row(run.name, *more, *_numbers(row.estimate), stage_text(row.progress))
    console.print(table)
    console.print(Text(_totals(rows, jobs)))
    for choice in choices_of([row.job for row in rows]):
        console.print(Text(choice))
    for warning in warnings_of([row.job for row in rows]):
        console.print(Text(f"warning: {warning}", style="yellow"))


def shape_of(job: Job) -> Shape:
    """That of the network that it trains."""
    return Shape.of(job.network.record)


def _shapes(jobs: Sequence[Job]) -> tuple[str, ...]:
    """The network of each in words; none where all are the paper's."""
    shapes = [shape_of(job) for job in jobs]
    if all(shape.is_papers for shape in shapes) and len({shape.model for shape in shapes}) == 1:
        return ()
    texts = shape_texts(shapes)
    return tuple(
        f"{text} (auto)" if job.stride_chosen else text for text, job in zip(texts, jobs, strict=True)
    )


def _numbers(estimate: RunEstimate | None) -> tuple[str, ...]:
    if estimate is None:
        return ("-",) * 5
    return (
        f"{estimate.samples:,}",
        f"{estimate.steps:,}",
        f"{estimate.gflops_forward:.3g}",
        f"{estimate.memory_bytes / 1e9:.1f} GB",
        duration(estimate.seconds),
    )


def _totals(rows: Sequence[Row], jobs: int) -> str:
    todo = [row for row in rows if row.progress.stage != "finished"]
    if not todo:
        return "all runs are finished"
    found = [row.estimate for row in todo if row.estimate is not None]
    left = sum(row.seconds_left for row in todo)
    at_a_time = f" ({duration(left / jobs)} at best with {jobs} at a time)" if jobs > 1 else ""
    return (
        f"to do: {len(todo)} of {plural(len(rows), 'run')}, about {duration(left)}{at_a_time} on this machine, "
        f"{sum(e.training_pflops for e in found):,.3g} PFLOPs, "
        f"{max((e.memory_bytes for e in found), default=0) / 1e9:.1f} GB at most\n"
        "samples: of an epoch. GFLOPs: a forward pass, mean over the images trained on. memory: on the largest image. "
        "time: training and validation, after a calibration of a few seconds; measuring on the splits comes on top."
    )


def rows_as_dict(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The plan, JSON-able."""
    return [
        {
            "name": row.job.name,
            "phase": row.job.run.phase,
            "method": row.job.run.method,
            "magnification": row.job.run.magnification,
            "seed": row.job.run.seed,
            **({} if row.job.run.fold is None else {"fold": row.job.run.fold}),
            "depends_on": list(row.job.run.depends_on),
            "train_on": list(row.job.trained_on),
            "shape": asdict(shape_of(row.job)),
            "output_stride_chosen": None if row.job.stride_chosen is None else row.job.stride_chosen.record,
            "warning": "; ".join(row.job.warnings) or None,
            "stage": row.progress.stage,
            "step": row.progress.step,
            "estimate": None if row.estimate is None else asdict(row.estimate),
            "seconds_left": row.seconds_left,
        }
        for row in rows
    ]
