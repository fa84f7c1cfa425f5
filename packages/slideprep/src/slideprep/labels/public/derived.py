"""labels.csv of a public data set, and beside it what was left out and why; each whole or not at all.

A slide that is left out must not come back: a build of its folder would find it without a row, and take it for a
patient of its own. So rows name slides by their paths where these are known, and labels.csv is the list that a build is
given; and where a manifest was read, one of the slides that were kept is written, to download no others.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from slideprep.errors import UsageError
from slideprep.storage.files import write_atomically
from slideprep.text import count, csv_text


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A file that has no row in labels.csv.

    Attributes:
        slide: Its name.
        patient: Its patient, empty where that is not known.
        reason: Why, in words that are the same for all files that it concerns.
        detail: What else is known of this one.
        given: Where it was named: a file and line, or a folder.
    """

    slide: str
    patient: str = ""
    reason: str
    detail: str = ""
    given: str = ""


@dataclass(frozen=True, kw_only=True)
class Derived:
    """What was made of a data set.

    Attributes:
        columns: Columns of labels.csv: slide, label, patient, then what else is known of a slide.
        rows: Cells by column, in the order of the slides' names.
        left_out: The files without a row.
        notes: Plain sentences that a person should read.
        manifest: A GDC manifest of the slides that have a row; empty where none was read.
    """

    columns: Sequence[str]
    rows: Sequence[Mapping[str, str]]
    left_out: Sequence[LeftOut]
    notes: Sequence[str] = ()
    manifest: str = ""

    def at(self, places: Mapping[str, str]) -> Derived:
        """The same with slides named by their places, as far as these are known by name."""
        rows = [{**row, "slide": places.get(row["slide"], row["slide"])} for row in self.rows]
        return replace(self, rows=rows)

    @property
    def classes(self) -> dict[str, tuple[int, int]]:
        """Patients and slides of each class, by its name; slides without a label under ""."""
        patients: defaultdict[str, set[str]] = defaultdict(set)
        slides: Counter[str] = Counter()
        for row in self.rows:
            patients[row["label"]].add(row["patient"])
            slides[row["label"]] += 1
        return {name: (len(patients[name]), slides[name]) for name in sorted(slides)}

    @property
    def reasons(self) -> list[tuple[str, int]]:
        """Why files were left out, and how many, the most frequent reason first."""
        counts = Counter(item.reason for item in self.left_out)
        return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))


def left_out_path(out: Path) -> Path:
    """Where the list of what was left out stands beside labels.csv: ``labels.left_out.csv``."""
    return out.with_name(f"{out.stem}.left_out.csv")


def manifest_path(out: Path) -> Path:
    """Where the manifest of the slides that were kept stands beside labels.csv: ``labels.manifest.txt``."""
    return out.with_name(f"{out.stem}.manifest.txt")


def check_writable(out: Path, *, overwrite: bool, read: Iterable[object] = ()) -> None:
    """Refuse to write where something is, before any work.

    Args:
        out: labels.csv as it is to be.
        overwrite: Whether the files may be replaced.
        read: What the command reads, and must not replace.

    Raises:
        UsageError: One of the files exists and may not be replaced, is a folder, or is one that is read.
    """
    sources = {path.resolve() for path in read if isinstance(path, Path)}
    for path in (out, left_out_path(out), manifest_path(out)):
        if path.is_dir():
            raise UsageError(
                f"{path} is a folder; give the file to write, such as --out {path / 'labels.csv'}"
            )
        if path.resolve() in sources:
            raise UsageError(f"--out {out} would replace {path}, which this command reads; give another name")
        if path.exists() and not overwrite:
            raise UsageError(
                f"{path} exists, and may hold labels that somebody has corrected; give another --out, or --overwrite "
                "to replace it"
            )


def write_labels(derived: Derived, out: Path) -> None:
    """Write labels.csv, and before it the list of what was left out, and the manifest where there is one.

    Raises:
        UsageError: No slide is left.
        OutputError: A file cannot be written.
    """
    if not derived.rows:
        reasons = "; ".join(f"{number:,} because {reason}" for reason, number in derived.reasons)
        raise UsageError(
            f"no slide is left of {count(len(derived.left_out), 'file')}: {reasons}; nothing was written"
        )
    left_out = [["slide", "patient", "reason", "detail", "given"]]
    left_out += [[i.slide, i.patient, i.reason, i.detail, i.given] for i in derived.left_out]
    write_atomically(left_out_path(out), csv_text(left_out).encode())
    if derived.manifest:
        write_atomically(manifest_path(out), derived.manifest.encode())
    else:
        manifest_path(out).unlink(missing_ok=True)  # of labels that are replaced
    rows = ([row.get(column, "") for column in derived.columns] for row in derived.rows)
    write_atomically(out, csv_text([list(derived.columns), *rows]).encode())
