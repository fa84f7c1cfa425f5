"""Truths about the table of tissues, slides and patients per class and set."""

from __future__ import annotations

import csv
import io
import json

from rich.console import Console

from slideprep.labels.match import SlideEntry
from slideprep.labels.split_plan import SplitSettings
from slideprep.labels.split_table import RegionCounts, SplitTable, split_table
from slideprep.labels.splits import assign_splits

ENTRIES = [
    SlideEntry(name=name, patient=patient, label=label or None, split=split)
    for name, patient, label, split in (
        ("a", "P", "X", "train"),
        ("b", "P", "Y", "train"),
        ("c", "Q", "", "train"),
        ("d", "R", "X", "test"),
        ("e", "S", "Y", "aux1"),
        ("f", "T", "", "aux2"),
        ("left", "R", "", "test"),
    )
]
REGIONS: RegionCounts = {
    "a": {None: 3},
    "b": {None: 1},
    "c": {"X": 2, "Y": 5},
    "e": {None: 4},
    "f": {None: 6},
    "left": {None: 9},
}


def small_table() -> SplitTable:
    """Six slides of five patients; 'c' has annotated regions, 'd' has no tissue, 'left' is in no split."""
    plan = assign_splits(ENTRIES, {"c": ["X"] * 2 + ["Y"] * 5}, SplitSettings(), seed=0)
    return split_table(plan, REGIONS)


def test_counts_are_those_a_person_counts() -> None:
    """Regions go by their own class, else their slide's; slides and patients of two classes count once in the total."""
    table = small_table()
    assert table.sets == ("train", "test", "aux1", "aux2")
    assert [(row.measure, row.name, row.counts) for row in table.rows] == [
        ("tissues", "X", (5, 0, 0, 0)),
        ("tissues", "Y", (6, 0, 4, 4)),
        ("tissues", "unlabelled", (0, 0, 0, 6)),
        ("tissues", "total", (11, 0, 4, 10)),
        ("slides", "X", (2, 1, 0, 0)),
        ("slides", "Y", (2, 0, 1, 1)),
        ("slides", "unlabelled", (0, 0, 0, 1)),
        ("slides", "total", (3, 1, 1, 2)),
        ("patients", "X", (2, 1, 0, 0)),
        ("patients", "Y", (2, 0, 1, 1)),
        ("patients", "unlabelled", (0, 0, 0, 1)),
        ("patients", "total", (2, 1, 1, 2)),
    ]


def test_class_counts_of_auxiliary_sets_are_for_reference_only() -> None:
    """The table says which columns carry no label."""
    assert small_table().reference_only == ("aux1", "aux2")


def test_the_table_is_json_and_its_csv_says_the_same() -> None:
    """Header and rows survive a round trip through JSON, and the CSV has the same cells."""
    content = small_table().as_dict()
    assert json.loads(json.dumps(content)) == content
    assert content["header"] == ["measure", "class", "train", "test", "aux1", "aux2"]
    rows = list(csv.reader(io.StringIO(small_table().as_csv())))
    assert rows == [content["header"], *([str(cell) for cell in row] for row in content["rows"])]


def rendered(table: SplitTable) -> str:
    """The table as a terminal of 100 columns shows it."""
    console = Console(width=100, file=io.StringIO(), record=True)
    console.print(table.as_rich())
    return console.export_text()


def test_the_terminal_shows_every_number_within_100_columns() -> None:
    """Six sets, counts of seven digits and a long class name fit: nothing is cut off."""
    splits = ("train", "val", "test", "dev", "aux1", "aux2")
    name = "Adenocarcinoma in situ, non-mucinous [type 2]"
    entries = [SlideEntry(name=s, patient=s, label=name, split=s) for s in splits]
    plan = assign_splits(entries, {}, SplitSettings(), seed=0)
    text = rendered(split_table(plan, {s: {None: 1_234_567} for s in splits}))
    assert max(map(len, text.splitlines())) <= 100
    assert text.count("1,234,567") == 10
    assert "…" not in text
    assert "[type" in text
    assert "aux1, aux2 are for reference only" in text


def test_a_table_without_auxiliary_sets_has_no_note() -> None:
    """The note stands only where it is true."""
    plan = assign_splits(ENTRIES[:2], {}, SplitSettings(), seed=0)
    assert "reference" not in rendered(split_table(plan, {}))
