"""Data and figures of a page as addresses that hold their content: downloads that need no network and no server."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from urllib.parse import quote

from kdtrain.report.figures.draw import chart_svg
from kdtrain.report.files.csv import chart_csv, confusion_csv, gallery_csv, table_csv, wide_table_csv
from kdtrain.report.files.latex import table_latex
from kdtrain.report.model import Chart, Confusion, Gallery, Table

# Characters that mean themselves in a data address and in an HTML attribute, besides letters and digits.
_PLAIN = ",;:/()+=*!@$-_.~"


@dataclass(frozen=True, kw_only=True)
class Download:
    """A link that saves a file.

    Attributes:
        title: Title of the link: "CSV".
        file_name: Under which it is saved.
        address: ``data:`` with all of its content.
    """

    title: str
    file_name: str
    address: str


def downloads(block: Table | Chart | Confusion | Gallery, name: str) -> tuple[Download, ...]:
    """What a reader may take along from a table or figure; files are called ``name``."""
    if isinstance(block, Table):
        return (
            _text("CSV", f"{name}.csv", "text/csv", wide_table_csv(block)),
            _text("CSV, a row per number", f"{name}-long.csv", "text/csv", table_csv(block)),
            _text("LaTeX", f"{name}.tex", "application/x-tex", table_latex(block)),
        )
    if isinstance(block, Confusion):
        return (_text("CSV", f"{name}.csv", "text/csv", confusion_csv(block)),)
    if isinstance(block, Gallery):
        return (_text("CSV", f"{name}.csv", "text/csv", gallery_csv(block)),)
    drawing = b64encode(chart_svg(block).encode()).decode("ascii")
    return (
        _text("CSV", f"{name}.csv", "text/csv", chart_csv(block)),
        Download(title="SVG", file_name=f"{name}.svg", address=f"data:image/svg+xml;base64,{drawing}"),
    )


def _text(title: str, file_name: str, kind: str, content: str) -> Download:
    # Percent-encoding keeps columns of numbers at nearly their own size; base64 would add a third.
    address = f"data:{kind};charset=utf-8,{quote(content, safe=_PLAIN)}"
    return Download(title=title, file_name=file_name, address=address)
