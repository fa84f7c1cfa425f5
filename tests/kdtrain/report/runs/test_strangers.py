"""Runs that anyone may have written: whatever stands in their files, a report is made or one sentence is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from fixtures.report_runs import DRAWS, predictions, rights, write_run
from kdtrain.cli.main import main

RECORD, METRICS, SESSIONS = "run.json", "evaluation-test/metrics.json", "sessions.json"
SESSION = {"seconds": 1.0, "device": "cpu", "processes": 1, "threads": 1, "from_step": 0, "to_step": 3}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """An evaluated teacher."""
    return write_run(tmp_path / "run", "teacher", 10.0, predictions(rights(6, 1)), sessions=[SESSION])


def reported(run: Path) -> tuple[int, str]:
    """Exit code and words of ``kdtrain report``; an exception that is no exit fails."""
    done = CliRunner().invoke(main, ["report", str(run), "--out", str(run.parent / "r.html"), *DRAWS])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stderr


def change(content: Any, place: str, value: Any) -> Any:
    """The content with another value at "settings.seed"; None takes it out."""
    head, _, rest = place.partition(".")
    if isinstance(content, list):
        return [change(one, place, value) for one in content]
    if rest:
        return {**content, head: change(content[head], rest, value)}
    kept = {key: one for key, one in content.items() if key != head}
    return kept if value is None else {**kept, head: value}


FOLD = {"number": 1, "of": 2, "sha256": "f", "tested": [], "validated": []}


@pytest.mark.parametrize(
    ("file", "place", "value"),
    [
        (RECORD, "settings", []),
        (RECORD, "settings.phase", "../../etc"),
        (RECORD, "settings.phase", None),
        (RECORD, "settings.seed", "x"),
        (RECORD, "settings.train_on", "train"),
        (RECORD, "shard_set", None),
        (RECORD, "shard_set.sha256", 1),
        (RECORD, "shard_set.train_on", [[]]),
        (RECORD, "shard_set.chosen_by", None),
        (RECORD, "shard_set.fold", {}),
        (RECORD, "shard_set.fold", FOLD | {"number": 3}),
        (RECORD, "shard_set.fold", FOLD | {"sha256": None}),
        (RECORD, "shard_set.fold", FOLD | {"tested": [[]]}),
        (RECORD, "network.magnification", "<b>"),
        (RECORD, "network.classes", "ab"),
        (RECORD, "other_settings", 1),
        (RECORD, "other_settings.shards", True),
        (RECORD, "versions.kdtrain", {}),
        (METRICS, "cost.gflops_mean", "1"),
        (METRICS, "cost", []),
        (METRICS, "weights_sha256", 1),
        (SESSIONS, "seconds", "long"),
        (SESSIONS, "processes", {}),
        (SESSIONS, "mood", "good"),
    ],
)
def test_values_of_another_kind_are_refused(run: Path, file: str, place: str, value: Any) -> None:
    """By the file, with exit code 2."""
    content = change(json.loads((run / file).read_text()), place, value)
    (run / file).write_text(json.dumps(content))
    code, said = reported(run)
    assert code == 2 and Path(file).name in said


@pytest.mark.parametrize("file", [RECORD, METRICS, SESSIONS])
@pytest.mark.parametrize("content", ["[" * 20_000, "", "null", "\0", '{"a": 1e999}'], ids=range(5))
def test_json_that_is_made_to_break_a_parser_is_refused(run: Path, file: str, content: str) -> None:
    """By the file, with exit code 2."""
    (run / file).write_text(content)
    code, said = reported(run)
    assert code == 2 and Path(file).name in said


@pytest.mark.parametrize(
    "line", ["[" * 20_000, "[]", '{"kind": "step"}', '{"kind": "step", "step": "x"}'], ids=range(4)
)
def test_a_line_of_the_log_that_is_none_is_passed_over(run: Path, line: str) -> None:
    """The log is drawn, nothing else hangs on it."""
    with (run / "log.jsonl").open("a") as file:
        file.write(line + "\n")
    assert reported(run)[0] == 0
