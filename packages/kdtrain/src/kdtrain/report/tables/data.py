"""How much tissue of which class is in which split, from the index of the shard set."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kdtrain.report.model import Cell, Row, Table
from kdtrain.report.tables.cells import ABSENT, count_cell
from kdtrain.shards.index import Index

_USUAL = ("train", "val", "test", "dev")
"""Splits in the order of the paper's tables; others follow by name."""


def data_table(index: Index) -> Table:
    """Tissue samples of every class, and samples, slides and patients in all, of every split and set."""
    splits = _ordered(index.document.splits)
    labelled = [name for name in splits if index.is_labelled(name)]
    unlabelled = [name for name in splits if not index.is_labelled(name)]
    unions = sorted(name for name, parts in index.document.sets.items() if name not in index.document.splits)
    columns = (*labelled, *unlabelled, *unions)
    spans = (("Labelled", len(labelled)), ("Unlabelled", len(unlabelled)), ("Sets", len(unions)))
    return Table(
        name="counts",
        title="Tissue samples of every class",
        caption=_caption(index, unions),
        corner="Class",
        columns=columns,
        groups=tuple((title, width) for title, width in spans if width),
        rows=(
            *(
                Row(heading=label, cells=tuple(_of_class(index, name, label) for name in columns))
                for label in index.document.classes
            ),
            *(
                Row(heading=title, cells=tuple(count_cell(_total(index, name, field)) for name in columns))
                for title, field in (
                    ("All samples", "samples"),
                    ("Slides", "slides"),
                    ("Patients", "patients"),
                )
            ),
        ),
        in_paper="Tables 1 and 2",
    )


def _ordered(names: Iterable[str]) -> list[str]:
    return sorted(names, key=lambda name: (_USUAL.index(name) if name in _USUAL else len(_USUAL), name))


def _of_class(index: Index, name: str, label: str) -> Cell:
    if not index.is_labelled(name):
        return ABSENT
    counts = [index.document.splits[part].per_class or {} for part in index.document.sets[name]]
    return count_cell(sum(count[label] for count in counts))


def _total(index: Index, name: str, field: str) -> int:
    return sum(int(getattr(index.document.splits[part], field)) for part in index.document.sets[name])


def _caption(index: Index, unions: Sequence[str]) -> str:
    parts = [f"{name} is {' and '.join(index.document.sets[name])}" for name in unions]
    return (
        "Tissue samples of each class in every split. Unlabelled splits carry no classes"
        + "".join(f"; the set {part}" for part in parts)
        + "."
    )
