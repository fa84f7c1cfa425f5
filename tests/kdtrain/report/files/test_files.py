"""The files of a report: LaTeX, CSV, what may be overwritten, and the command that writes them."""

from __future__ import annotations

import csv
import re
from dataclasses import replace
from pathlib import Path

import pytest

from fixtures import strangers
from fixtures.report_runs import DRAWS, predictions, rights, write_run, write_sweep
from fixtures.training_runs import kdtrain
from kdtrain.report.files.csv import chart_csv, confusion_csv, wide_table_csv
from kdtrain.report.files.latex import escape, table_latex
from kdtrain.report.model import Cell, Chart, Confusion, Point, Row, Series, Table
from kdtrain.report.write import LIST_FILE

TABLE = Table(
    name="all-methods",
    title="A & B",
    caption="50 % of it",
    corner="Metric",
    columns=("A_1", "B"),
    groups=(("Labelled", 2),),
    rows=(
        Row(heading="1x"),
        Row(
            heading="Accuracy",
            cells=(
                Cell(text="84.0 (82.6-85.5)", value=84.0, low=82.6, high=85.5, best=True, paper="83 (82-84)"),
                Cell(text="-1.0 (-2.0 to +0.5)", value=-1.0),
            ),
        ),
    ),
)


def test_latex_is_a_table_of_booktabs() -> None:
    """Groups, title rows, bold, the paper's row and dashes are where LaTeX and a reader expect them."""
    assert (
        table_latex(TABLE)
        == r"""% needs \usepackage{booktabs}
\begin{table}
\centering
\caption{A \& B. 50 \% of it}
\label{tab:all-methods}
\begin{tabular}{lrr}
\toprule
 & \multicolumn{2}{c}{Labelled} \\
\cmidrule(lr){2-3}
Metric & A\_1 & B \\
\midrule
\multicolumn{3}{l}{\textit{1x}} \\
Accuracy & \textbf{84.0 (82.6--85.5)} & $-$1.0 ($-$2.0 to +0.5) \\
\quad\footnotesize paper & \footnotesize 83 (82--84) &  \\
\bottomrule
\end{tabular}
\end{table}
"""
    )


def test_latex_names_the_papers_table_by_its_authors() -> None:
    """In a paper of the reader's own the caption begins with the table's name; "the paper" would be that one."""
    text = table_latex(replace(TABLE, in_paper="Table 4"))
    assert r"\caption{A \& B (Table 4 of DiPalma et al., 2021). 50 \% of it}" in text


def test_latex_escapes_everything() -> None:
    """No character of a name is a command: each special one comes out as itself, and a line break as a space."""
    assert escape("a&b%c$d#e_f{g}") == r"a\&b\%c\$d\#e\_f\{g\}"
    assert escape("~^\\<>") == (
        r"\textasciitilde{}\textasciicircum{}\textbackslash{}\textless{}\textgreater{}"
    )
    assert escape("a|b") == r"a\textbar{}b"
    assert escape("1\n2 ± 3×") == r"1 2 $\pm$ 3$\times$"


def test_latex_of_any_table_is_balanced() -> None:
    """Braces of a hostile class name stay balanced, and every row has as many cells as the head."""
    hostile = Table(
        name="t",
        title="}{\\end{table}",
        caption="",
        corner="%",
        columns=("{",),
        rows=(Row(heading="[x] & y", cells=(Cell(text="}"),)),),
    )
    text = table_latex(hostile)
    bare = re.sub(r"\\[{}]", "", text)
    assert bare.count("{") == bare.count("}")
    assert text.count(r"\end{table}") == 1
    assert r"{}[x] \& y & \}" in text


def test_wide_csv_is_the_table_as_shown() -> None:
    """The wide form has the shown texts, the groups in its head, and the paper's numbers in columns of their own."""
    lines = list(csv.reader(wide_table_csv(TABLE).splitlines()))
    assert lines[0] == [
        "Metric",
        "Labelled: A_1",
        "Labelled: A_1, paper",
        "Labelled: B",
        "Labelled: B, paper",
    ]
    assert lines[1] == ["1x", "", "", "", ""]
    assert lines[2] == ["Accuracy", "84.0 (82.6-85.5)", "83 (82-84)", "-1.0 (-2.0 to +0.5)", ""]


def test_figures_and_matrices_as_csv() -> None:
    """A figure's file has a row per point under its axes' titles, a matrix's the true class in its rows."""
    chart = Chart(
        name="f",
        title="",
        caption="",
        kind="lines",
        x_title="GFLOPs",
        y_title="Accuracy, %",
        series=(Series(label="KD", points=(Point(x=0.1, y=80.0, low=79.5, label="1x"),)),),
    )
    assert chart_csv(chart) == ('series,label,GFLOPs,"Accuracy, %",low,high,paper\nKD,1x,0.1,80.0,79.5,,\n')
    matrix = Confusion(name="c", title="", caption="", classes=("A", "B"), counts=((1, 2), (3, 4)))
    assert confusion_csv(matrix) == "true class,A,B\nA,1,2\nB,3,4\n"


def _run(folder: Path) -> Path:
    return write_run(folder, "baseline", 1, predictions(rights(8, 2)))


def _bytes_of(out: Path) -> dict[str, bytes]:
    folder = out.with_suffix("")
    return {"page": out.read_bytes(), **{path.name: path.read_bytes() for path in folder.iterdir()}}


def test_command_writes_page_and_folder(tmp_path: Path) -> None:
    """'kdtrain report' writes the page and, listed in FILES.txt, every table and figure; it says the answer."""
    run = kdtrain("report", _run(tmp_path / "b"), "--out", tmp_path / "r.html", *DRAWS)
    assert run.code == 0, run.said
    assert "warning: Too few patients" in run.said
    assert "At 1x the baseline reaches 75.0 % accuracy" in run.said
    there = {path.name for path in (tmp_path / "r").iterdir()}
    assert {
        "all-methods.csv",
        "all-methods-long.csv",
        "all-methods.tex",
        "accuracy-against-cost.csv",
        "accuracy-against-cost.svg",
    } <= there
    assert set((tmp_path / "r" / LIST_FILE).read_text().splitlines()[1:]) == there - {LIST_FILE}


def test_a_gallery_is_as_it_was_asked_for(tmp_path: Path) -> None:
    """Left out, the samples' keys are listed where no shards are found, in a file as well; with 'none' nowhere."""
    run = _run(tmp_path / "b")
    page, keys = tmp_path / "r.html", tmp_path / "r" / "surest-errors.csv"
    assert kdtrain("report", run, "--out", page, *DRAWS).code == 0
    assert "No thumbnails: " in page.read_text()
    assert keys.read_text().splitlines()[1].startswith("k000")
    assert kdtrain("report", run, "--out", page, "--gallery", "none", *DRAWS).code == 0
    assert "k000" not in page.read_text()
    assert not keys.exists()


def test_same_runs_give_the_same_bytes(tmp_path: Path) -> None:
    """No file of a report holds a date or an order of chance: the same command writes the same bytes."""
    run = _run(tmp_path / "b")
    for name in ("one", "two"):
        assert kdtrain("report", run, "--out", tmp_path / f"{name}.html", *DRAWS).code == 0
    assert _bytes_of(tmp_path / "one.html") == _bytes_of(tmp_path / "two.html")


def test_an_earlier_report_is_replaced(tmp_path: Path) -> None:
    """The same --out again replaces the report, and files that the new one has not are gone; a stranger's stays."""
    said = predictions(rights(8, 2))
    teacher = write_run(tmp_path / "t", "teacher", 10, said)
    out = tmp_path / "r.html"
    assert kdtrain("report", teacher, _run(tmp_path / "b"), "--out", out, *DRAWS).code == 0
    assert (tmp_path / "r/teacher-metrics.csv").exists()
    (tmp_path / "r/notes.txt").write_text("mine")
    assert kdtrain("report", tmp_path / "b", "--out", out, *DRAWS).code == 0
    assert not (tmp_path / "r/teacher-metrics.csv").exists()
    assert (tmp_path / "r/notes.txt").read_text() == "mine"


def test_a_strangers_file_in_the_folder_is_kept(tmp_path: Path) -> None:
    """A file that no report wrote is kept, even one that this report has a file of the same name for."""
    out = tmp_path / "r.html"
    assert kdtrain("report", _run(tmp_path / "b"), "--out", out, *DRAWS).code == 0
    (tmp_path / "r/teacher-metrics.csv").write_text("mine")
    write_run(tmp_path / "t", "teacher", 10, predictions(rights(8, 2)))
    page = out.read_bytes()
    run = kdtrain("report", tmp_path / "b", tmp_path / "t", "--out", out, *DRAWS)
    assert (run.code, "has teacher-metrics.csv, which no report wrote" in run.said) == (2, True)
    assert ((tmp_path / "r/teacher-metrics.csv").read_text(), out.read_bytes()) == ("mine", page)


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("r.pdf", None, "must end in .html"),
        ("r.html", "r.html", "is no report of kdtrain"),
        ("r.html", "r/data.csv", "which holds other files"),
        ("r.html", "r", "which is a file"),
    ],
)
def test_other_files_are_never_overwritten(tmp_path: Path, name: str, make: str | None, message: str) -> None:
    """A page or a folder that no report wrote is kept, and the command stops before it reads a run."""
    if make is not None:
        (tmp_path / make).parent.mkdir(exist_ok=True)
        (tmp_path / make).write_text("mine")
    run = kdtrain("report", tmp_path / "absent", "--out", tmp_path / name)
    assert run.code == 2
    assert message in run.said
    assert make is None or (tmp_path / make).read_text() == "mine"


def test_sweep_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    """A sweep.json that is damaged or of another version is refused with its path."""
    sweep = write_sweep(tmp_path / "s", [], version=2)
    run = kdtrain("report", sweep, "--out", tmp_path / "r.html")
    assert (run.code, "has version 2, this kdtrain knows 1" in run.said) == (2, True)
    (sweep / "sweep.json").write_text("{")
    run = kdtrain("report", sweep, "--out", tmp_path / "r.html")
    assert (run.code, "is not as 'kdtrain sweep' writes it" in run.said) == (2, True)


def test_damaged_metrics_are_refused(tmp_path: Path) -> None:
    """metrics.json of another shape, or of another evaluation than predictions.csv, is refused with the remedy."""
    run = _run(tmp_path / "b")
    metrics = run / "evaluation-test/metrics.json"
    whole = metrics.read_text()
    metrics.write_text(whole.replace("gflops_mean", "gflops"))
    said = kdtrain("report", run, "--out", tmp_path / "r.html").said
    assert "is not as 'kdtrain evaluate' writes it; evaluate the run again" in said
    metrics.write_text(whole.replace("a" * 64, "b" * 64))
    said = kdtrain("report", run, "--out", tmp_path / "r.html").said
    assert "differ in shard_set_sha256, so they are of two evaluations" in said


@pytest.mark.parametrize("name", [*strangers.LATEX, *strangers.TERMINAL])
def test_latex_runs_nothing_of_a_name(name: str) -> None:
    """A name of a stranger, in every place: no command but ours, no option of a line break."""
    table = Table(
        name="t",
        title=name,
        caption=name,
        corner=name,
        columns=(name,),
        groups=((name, 1),),
        rows=(Row(heading=name), Row(heading=name, cells=(Cell(text=name, paper=name),))),
    )
    text = table_latex(table)
    plain = table_latex(
        Table(
            name="t",
            title="a",
            caption="a",
            corner="a",
            columns=("a",),
            groups=(("a", 1),),
            rows=(Row(heading="a"), Row(heading="a", cells=(Cell(text="a", paper="a"),))),
        )
    )
    printed = {
        r"\textbackslash",
        r"\textasciicircum",
        r"\textasciitilde",
        r"\textless",
        r"\textgreater",
        r"\textbar",
    }
    ours = set(re.findall(r"\\[a-z]+", plain)) | printed
    assert set(re.findall(r"\\[a-z]+", text)) <= ours
    assert len(text.splitlines()) == len(plain.splitlines())
    assert not [line for line in text.splitlines() if line.startswith(("[", "*"))]
    assert all(c.isprintable() or c == "\n" for c in text)
