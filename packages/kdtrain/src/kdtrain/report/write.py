"""A report becomes files: the page, and beside it a folder with every table and figure for a paper or a spreadsheet.

::

    report.html                 the page, complete in itself
    report/FILES.txt            what is in the folder: only what is listed there is ever replaced or removed
    report/<table>.csv          as shown             report/<table>-long.csv   a row per number
    report/<table>.tex          LaTeX, with booktabs
    report/<figure>.csv, .svg   points and drawing   report/<matrix>.csv       counts
    report/<gallery>.csv        keys of its samples, without images
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from kdtrain.errors import UsageError
from kdtrain.files import write_atomically
from kdtrain.report.figures.draw import chart_svg
from kdtrain.report.files.csv import chart_csv, confusion_csv, gallery_csv, table_csv, wide_table_csv
from kdtrain.report.files.latex import table_latex
from kdtrain.report.model import Chart, Confusion, Gallery, Report, Table
from kdtrain.report.page.page import write_page

LIST_FILE = "FILES.txt"
_LIST_HEAD = "written by kdtrain report; the same command replaces these files"
_PAGE_MARK = b"kdtrain report</title>"
_HEAD_BYTES = 1 << 16


def check_out(out: Path) -> None:
    """Refuse an output that would replace what is not a report; an earlier report is derived, and may be replaced.

    Raises:
        UsageError: ``out`` is no .html file, or it or its folder holds something else.
    """
    folder = out.with_suffix("")
    if out.suffix.lower() != ".html":
        raise UsageError(f"--out {out} must end in .html: the report is a page; give e.g. {out.name}.html")
    if out.is_dir() or (out.exists() and _PAGE_MARK not in _head(out)):
        raise UsageError(f"--out {out} is there and is no report of kdtrain; it is kept: give another name")
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--out {out} writes its tables into {folder}/, which is a file; give another name")
    if folder.is_dir() and any(folder.iterdir()) and not _listed(folder):
        raise UsageError(
            f"--out {out} writes its tables into {folder}/, which holds other files (no {LIST_FILE} of an earlier "
            "report); they are kept: give another name"
        )


def write_report(report: Report, out: Path) -> Path:
    """Write the page and its folder; files of an earlier report that this one does not have are removed.

    Args:
        report: What to write.
        out: The page, as :func:`check_out` allows it.

    Returns:
        The folder.

    Raises:
        UsageError: As :func:`check_out`; or a file of the folder that no report wrote has a name of this one's.
        OSError: A file cannot be written.
    """
    check_out(out)
    folder = out.with_suffix("")
    contents = dict(_files(report))
    earlier = _listed(folder)
    _check_strangers(folder, set(contents) - set(earlier))
    # While both are there, both are listed: a killed command leaves nothing that the next one takes for a stranger's.
    _write_list(folder, [*contents, *(name for name in earlier if name not in contents)])
    for name, text in contents.items():
        write_atomically(folder / name, text.encode())
    for name in earlier:
        if name not in contents:
            (folder / name).unlink(missing_ok=True)
    _write_list(folder, list(contents))
    write_page(report, out)
    return folder


def _check_strangers(folder: Path, new: set[str]) -> None:
    if strangers := sorted(name for name in new if (folder / name).exists()):
        raise UsageError(
            f"{folder}/ has {', '.join(strangers)}, which no report wrote ({LIST_FILE} does not list it) and this one "
            "would replace; it is kept: move it away, or give another --out"
        )


def _files(report: Report) -> Iterator[tuple[str, str]]:
    for block in (block for section in report.sections for block in section.blocks):
        match block:
            case Table():
                yield f"{block.name}.csv", wide_table_csv(block)
                yield f"{block.name}-long.csv", table_csv(block)
                yield f"{block.name}.tex", table_latex(block)
            case Chart():
                yield f"{block.name}.csv", chart_csv(block)
                yield f"{block.name}.svg", chart_svg(block)
            case Confusion():
                yield f"{block.name}.csv", confusion_csv(block)
            case Gallery():
                yield f"{block.name}.csv", gallery_csv(block)


def _write_list(folder: Path, names: list[str]) -> None:
    write_atomically(folder / LIST_FILE, "\n".join([_LIST_HEAD, *names, ""]).encode())


def _listed(folder: Path) -> list[str]:
    """Files of an earlier report; none where the folder has no list of ours."""
    try:
        head, *names = (folder / LIST_FILE).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return []
    # A name with a folder in it was not written by us.
    return [name for name in names if Path(name).name == name] if head == _LIST_HEAD else []


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_HEAD_BYTES)
