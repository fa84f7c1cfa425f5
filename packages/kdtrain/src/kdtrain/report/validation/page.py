"""The page of an external validation: ``validation.html`` beside what was measured."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from kdtrain.evaluation.notes import LevelCounts, level_notes
from kdtrain.evaluation.record import VALIDATION_PAGE
from kdtrain.report.model import Block, Paragraph, Report, Section
from kdtrain.report.page.page import write_page
from kdtrain.report.validation.charts import confusions, reliability_chart, roc_chart
from kdtrain.report.validation.read import Validation, read_validation
from kdtrain.report.validation.tables import (
    classes_table,
    errors_table,
    measures_table,
    sizes_table,
    stain_table,
)
from kdtrain.report.validation.verdict import differences, verdict
from kdtrain.shards.models import magnification_name
from kdtrain.text import plural


def write_validation_page(folder: Path) -> Path:
    """Make a page of what ``kdtrain evaluate BUNDLE`` or ``kdtrain predict --labels`` wrote into a folder.

    Returns:
        The page; an earlier one is replaced.

    Raises:
        UsageError: The folder holds no external validation, or is damaged.
        OSError: The page cannot be written.
    """
    page = folder / VALIDATION_PAGE
    write_page(validation_report(read_validation(folder)), page)
    return page


def validation_report(found: Validation) -> Report:
    """What stands on the page, the answer first."""
    return Report(
        title=f"{found.metrics['bundle']['name']} on other cases",
        subtitle=_subtitle(found),
        synthetic=bool(found.metrics["bundle"]["synthetic"]),
        warnings=tuple(_warnings(found)),
        answer=verdict(found),
        sections=tuple(section for section in _sections(found) if section.blocks),
    )


def _sections(found: Validation) -> Iterator[Section]:
    if found.shift is not None:
        tables = (stain_table(found.shift), sizes_table(found.shift))
        yield Section(name="shift", title="How the images differ", blocks=tables)
    yield Section(name="measured", title="Measured", blocks=(measures_table(found), classes_table(found)))
    yield Section(name="confusion", title="Taken for what", blocks=confusions(found))
    charts = (roc_chart(found), reliability_chart(found))
    yield Section(name="curves", title="Curves", blocks=tuple(chart for chart in charts if chart is not None))
    yield Section(name="errors", title="Errors", blocks=(_errors(found),))


def _errors(found: Validation) -> Block:
    return errors_table(found) or Paragraph(text="Every sample is given its own class.")


def _subtitle(found: Validation) -> str:
    metrics = found.metrics
    levels = metrics["levels"]
    patients = len({one.patient for one in found.predictions})
    slides = len({one.slide for one in found.predictions})
    return (
        f"{plural(levels['sample']['n'], 'tissue sample')} on {plural(slides, 'slide')} of "
        f"{plural(patients, 'patient')} ({metrics['split']}), at {magnification_name(metrics['magnification'])}"
    )


def _warnings(found: Validation) -> Iterator[str]:
    """The gravest first: what the network is, what the images are, what was left out, how few there are."""
    if found.metrics["bundle"]["synthetic"]:
        yield "The network was trained on synthetic slides, so nothing that it says is about tissue."
    if found.shift is not None:
        yield from differences(found.shift)
    slides = found.metrics.get("slides", {})
    if failed := slides.get("labelled_but_failed"):
        yield f"{plural(failed, 'labelled slide')} could not be predicted, and are not in these numbers."
    bootstrap = found.metrics["bootstrap"]
    counts = LevelCounts.of(
        found.here, level=found.level, unit=bootstrap["unit"], iterations=bootstrap["iterations"]
    )
    yield from (f"By {found.level}: {sentence}." for sentence in level_notes(counts))
    if found.here["never_predicted"]:
        yield f"Never answered, and counted as never right: {', '.join(found.here['never_predicted'])}."
