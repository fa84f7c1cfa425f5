r"""Tables as LaTeX: a complete ``table`` environment that needs the package booktabs and nothing else.

In: a Table. Out: text that pdfLaTeX reads as UTF-8. Best cells are bold, title rows span the table, and the paper's
numbers stand in a row of their own, in small print, under those that they belong to.
"""

from __future__ import annotations

import re

from kdtrain.report.model import Cell, Row, Table
from kdtrain.text import visible

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    # In text, these would need a package, or a font that has them.
    "±": r"$\pm$",
    "×": r"$\times$",
    "−": "$-$",
    "µ": r"$\mu$",
    "–": "--",
    "…": r"\ldots{}",
}
_PAPER = "DiPalma et al., 2021"
"""In a paper of the reader's, "the paper" is another one."""
_COMFORTABLE = 4
"""Columns of numbers with intervals that fit on a page in its own size."""
_TABLE = str.maketrans(_ESCAPES)


def escape(text: str) -> str:
    """Text as LaTeX prints it: no character of it is a command, and none is one that LaTeX refuses."""
    return " ".join(visible(" ".join(text.split())).translate(_TABLE).split())


def table_latex(table: Table) -> str:
    r"""A ``table`` environment with caption and label; put ``\usepackage{booktabs}`` in the preamble."""
    columns = len(table.columns)
    lines = [
        r"% needs \usepackage{booktabs}",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape(_title(table))}. {escape(table.caption)}}}",
        *([r"\footnotesize", r"\setlength{\tabcolsep}{3pt}"] if columns > _COMFORTABLE else []),
        rf"\label{{tab:{table.name}}}",
        rf"\begin{{tabular}}{{l{'r' * columns}}}",
        r"\toprule",
        *_group_lines(table),
        _line([escape(table.corner), *map(escape, table.columns)]),
        r"\midrule",
        *(line for row in table.rows for line in _row_lines(row, columns)),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _title(table: Table) -> str:
    return f"{table.title} ({table.in_paper} of {_PAPER})" if table.in_paper else table.title


def _group_lines(table: Table) -> list[str]:
    if not table.groups:
        return []
    titles = [rf"\multicolumn{{{width}}}{{c}}{{{escape(title)}}}" for title, width in table.groups]
    rules, start = [], 2
    for title, width in table.groups:
        if title:
            rules.append(rf"\cmidrule(lr){{{start}-{start + width - 1}}}")
        start += width
    return [_line(["", *titles]), "".join(rules)] if rules else []


def _row_lines(row: Row, columns: int) -> list[str]:
    if not row.cells:
        return [_line([rf"\multicolumn{{{columns + 1}}}{{l}}{{\textit{{{escape(row.heading)}}}}}"])]
    lines = [_line([escape(row.heading), *map(_cell, row.cells)])]
    if any(cell.paper for cell in row.cells):
        papers = [rf"\footnotesize {_numbers(cell.paper)}" if cell.paper else "" for cell in row.cells]
        lines.append(_line([r"\quad\footnotesize paper", *papers]))
    return lines


def _cell(cell: Cell) -> str:
    text = _numbers(cell.text)
    return rf"\textbf{{{text}}}" if cell.best else text


def _numbers(text: str) -> str:
    """Escaped, with a dash between two numbers and a minus before one."""
    text = re.sub(r"(?<=\d)-(?=\d)", "–", text)
    return escape(re.sub(r"(?<![\w.])-(?=\d)", "−", text))


def _line(cells: list[str]) -> str:
    # A bracket or a star at the start of a line would be taken for an option of the line break before it.
    return " & ".join(f"{{}}{cell}" if cell.startswith(("[", "*")) else cell for cell in cells) + r" \\"
