"""Runs become a report: read, compared, scored on one set of draws, and laid out in sections."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from kdtrain.evaluation.bootstrap import ITERATIONS, Unit
from kdtrain.report.answer import answer, shown_first
from kdtrain.report.cautions import cautions
from kdtrain.report.class_charts import class_charts
from kdtrain.report.gallery.build import Pictures
from kdtrain.report.gallery.build import gallery as surest_errors_of
from kdtrain.report.model import Block, Paragraph, Report, Section, Table
from kdtrain.report.plots import accuracy_chart, confusions, curve_charts, group_names, resize_charts
from kdtrain.report.probability_charts import abstention_charts, reliability_charts
from kdtrain.report.runs.collect import Collection, collect
from kdtrain.report.runs.results import Results, results_of
from kdtrain.report.runs.shapes import has_shapes
from kdtrain.report.runs.shard_set import FoundSet, find_set
from kdtrain.report.shape_charts import front_charts
from kdtrain.report.tables.classes import classes_tables
from kdtrain.report.tables.cost import common_settings_table, cost_table, own_settings_table
from kdtrain.report.tables.data import data_table
from kdtrain.report.tables.folds import fold_tables
from kdtrain.report.tables.probabilities import answered_table, error_table, scores_table
from kdtrain.report.tables.results import (
    against_teacher_table,
    baseline_table,
    methods_table,
    patients_table,
    teacher_table,
)
from kdtrain.report.tables.seeds import seed_tables
from kdtrain.report.tables.shapes import cheapest_sentences, shapes_table
from kdtrain.shards.locations import Location, location_of
from kdtrain.shards.models import magnification_name
from kdtrain.text import plural

TITLE = "Resolution-based distillation"
FEW = 6
"""Networks whose figures are all open; those of more are folded away."""


def build_report(
    arguments: Sequence[str],
    *,
    shards: Location | str | None = None,
    split: str | None = None,
    unit: Unit | None = None,
    iterations: int = ITERATIONS,
    seed: int = 0,
    title: str | None = None,
    gallery: Pictures | None = None,
    folder: Path | None = None,
) -> Report:
    """Read runs and sweeps, and make a report of them.

    Args:
        arguments: Folders of runs or sweeps; ``LABEL=RUN`` names a run's method.
        shards: The shard set; None looks where it was when the runs were made.
        split: Evaluated; None takes a sweep's first, or else test.
        unit: What the bootstrap draws; None takes a sweep's, or else patients.
        iterations: Draws.
        seed: Seed of the draws.
        title: Title of the page; None takes a sweep's.
        gallery: What is shown of the surest errors; None takes thumbnails where the shards lie in a folder, else keys.
        folder: Where the page will lie, for its links to the set's preview; None takes the working directory.

    Raises:
        UsageError: The runs cannot stand in one report: see :func:`~kdtrain.report.runs.collect.collect` and
            :func:`~kdtrain.report.runs.groups.group_runs`.
        ShardError: ``shards`` is no shard set, or is damaged.
    """
    given = None if shards is None else location_of(shards)
    collection = collect(arguments, split=split, shards=given)
    found = find_set(given, collection.shards, collection.runs[0].shard_set_sha256)
    drawn: Unit = unit or collection.unit or "patient"
    results = results_of(collection, unit=drawn, iterations=iterations, seed=seed)
    errors = surest_errors_of(
        results, shown_first(results), found, wanted=gallery, report_folder=folder or Path()
    )
    return Report(
        title=title or collection.title or TITLE,
        subtitle=_subtitle(results),
        synthetic=found.index is not None and found.index.document.synthetic,
        warnings=cautions(results),
        answer=answer(results),
        sections=tuple(section for section in _sections(results, found, errors) if section.blocks),
    )


def _sections(results: Results, found: FoundSet, errors: Sequence[Block]) -> Iterator[Section]:
    few = len(results.groups) <= FEW
    yield Section(name="data", title="Data", blocks=(_data(found),))
    yield Section(name="teacher", title="Teacher", blocks=_tables(teacher_table(results)))
    methods = _tables(methods_table(results), baseline_table(results), against_teacher_table(results))
    yield Section(name="methods", title="Baseline and students", blocks=methods)
    yield from _by_class(results, errors)
    yield Section(name="seeds", title="Seeds", blocks=seed_tables(results))
    yield Section(name="folds", title="Folds", blocks=fold_tables(results))
    yield Section(name="patients", title="Patients", blocks=_tables(patients_table(results)))
    believed: tuple[Block, ...] = (
        error_table(results),
        scores_table(results),
        *abstention_charts(results),
        answered_table(results),
    )
    yield Section(name="probabilities", title="Honest probabilities", blocks=believed)
    yield Section(
        name="reliability",
        title="Said and seen",
        blocks=reliability_charts(results),
        folded=not few,
        per_row=3,
    )
    yield Section(name="accuracy-cost", title="Accuracy against cost", blocks=_against_cost(results))
    yield Section(name="ablation", title="Resizes", blocks=resize_charts(results))
    yield Section(name="curves", title="Training", blocks=curve_charts(results), folded=not few, per_row=3)
    yield Section(name="cost", title="Cost", blocks=(cost_table(results),))
    settings: tuple[Block, ...] = (
        *_about(results.collection),
        common_settings_table(results),
        own_settings_table(results),
    )
    yield Section(name="settings", title="Settings", blocks=settings, folded=True)


def _by_class(results: Results, errors: Sequence[Block]) -> Iterator[Section]:
    """Class by class: of every network where these are few, else of the one that is looked at and those beside it."""
    first = shown_first(results)
    names = dict(zip(map(id, results.groups), group_names(results.groups), strict=True))
    tables = classes_tables(results, first)
    yield Section(name="classes", title="Classes", blocks=tables[:1])
    yield Section(name="classes-all", title="Classes, all networks", blocks=tables[1:], folded=True)
    yield Section(name="confusion", title="Confusion", blocks=confusions(results))
    charts = {id(group): class_charts(results, group, names[id(group)]) for group in results.groups}
    yield Section(name="roc", title="ROC and precision-recall", blocks=charts[id(first)], per_row=2)
    others = tuple(chart for group in results.groups if group is not first for chart in charts[id(group)])
    yield Section(
        name="roc-others",
        title="ROC of the others",
        blocks=others,
        folded=True,
        per_row=2,
    )
    yield Section(name="errors", title="Surest errors", blocks=tuple(errors))


def _against_cost(results: Results) -> tuple[Block, ...]:
    """One figure; of several shapes with the front, and with every shape by its price."""
    if not has_shapes(results):
        return (accuracy_chart(results),)
    sentence = cheapest_sentences(results)
    below = () if sentence is None else (sentence,)
    return (*front_charts(results), shapes_table(results), *below)


def _data(found: FoundSet) -> Block:
    if found.index is not None:
        return data_table(found.index)
    why = found.why[:1].upper() + found.why[1:]
    return Paragraph(text=f"{why}, so its counts are not shown: pass its folder as --shards.")


def _about(collection: Collection) -> Iterator[Paragraph]:
    for text in collection.about:
        yield Paragraph(text=text)


def _tables(*tables: Table | None) -> tuple[Table, ...]:
    return tuple(table for table in tables if table is not None)


def _subtitle(results: Results) -> str:
    scores = results.scores(results.groups[0])
    seeds = sorted({len(group.runs) for group in results.groups})
    parts = [", ".join(dict.fromkeys(group.method for group in results.groups))]
    if results.magnifications:
        parts.append("at " + ", ".join(magnification_name(m) for m in results.magnifications))
    patients = len({one.patient for one in results.collection.runs[0].predictions})
    where = results.folds_said or results.collection.split
    parts.append(f"on {plural(scores.n, 'tissue sample')} of {plural(patients, 'patient')} ({where})")
    least = f"{seeds[0]} to " if len(seeds) > 1 else ""
    return f"{' '.join(parts)}, {least}{plural(seeds[-1], 'seed')}"
