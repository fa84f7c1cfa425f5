"""The folder of a run: its record, its log, and what is refused."""

from __future__ import annotations

import json

import pytest

from kdtrain.errors import UsageError
from kdtrain.training.run_folder import RunFolder, Session, cost_hours, read_run, versions

SETTINGS = {"lr": 0.001, "train_on": ("train",), "phase": "teacher"}
DATA = {"sha256": "ab", "classes": ["a", "b"]}
NETWORK = {"model": "resnet10", "mean": (1.0, 2.0, 3.0)}
OTHER = {"shards": "here", "workers": 2}


def begun(folder, **changes) -> RunFolder:
    """A run that was begun, with changes to its settings."""
    run = RunFolder(folder)
    run.begin({**SETTINGS, **changes}, DATA, NETWORK, OTHER)
    return run


def test_a_record_holds_what_was_asked_for(tmp_path):
    """Settings, data, network, other settings and versions, in a folder that is made."""
    begun(tmp_path / "a" / "run")
    record = read_run(tmp_path / "a" / "run", what="--out")
    assert record["settings"] == {"lr": 0.001, "train_on": ["train"], "phase": "teacher"}
    assert record["shard_set"] == DATA
    assert record["other_settings"] == OTHER
    assert record["versions"] == versions()
    assert [path.name for path in (tmp_path / "a" / "run").iterdir()] == ["run.json"]


def test_the_same_run_goes_on_under_other_versions_and_paths(tmp_path):
    """Neither decides a weight; the record stays as it was begun."""
    begun(tmp_path)
    path = tmp_path / "run.json"
    record = json.loads(path.read_text())
    record["versions"]["torch"] = "0.1"
    path.write_text(json.dumps(record))
    RunFolder(tmp_path).begin(SETTINGS, DATA, NETWORK, {"shards": "there"})
    assert json.loads(path.read_text()) == record


def test_why_a_stride_was_chosen_is_kept_and_not_compared(tmp_path):
    """The reason stands in the record as it was begun; a run of before it was kept goes on, and gets none."""
    reason = {"stride": 8, "cells": 10, "median_shorter_side_px": 80}
    for name, first in (("new", reason), ("old", None)):
        run = RunFolder(tmp_path / name)
        run.begin(SETTINGS, DATA, NETWORK, OTHER, output_stride_chosen=first)
        before = (run.path / "run.json").read_bytes()
        run.begin(SETTINGS, DATA, NETWORK, OTHER, output_stride_chosen=reason)
        assert (run.path / "run.json").read_bytes() == before
        assert read_run(run.path, what="--out").get("output_stride_chosen") == first


def test_another_run_is_refused_field_by_field(tmp_path):
    """Changed, added and nested settings are named with both values."""
    begun(tmp_path)
    with pytest.raises(UsageError) as caught:
        RunFolder(tmp_path).begin({**SETTINGS, "lr": 0.1, "new": 1}, {**DATA, "sha256": "cd"}, NETWORK, OTHER)
    lines = [line.strip() for line in str(caught.value).splitlines()]
    assert lines[1:4] == [
        "settings.lr: 0.001 there, 0.1 now",
        "settings.new: null there, 1 now",
        'shard_set.sha256: "ab" there, "cd" now',
    ]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_is_no_run_is_never_written_over(tmp_path, kind):
    """A file, or a folder with something else, stays as it is."""
    out = tmp_path / "out"
    if kind == "file":
        out.write_text("mine")
    else:
        out.mkdir()
        (out / "notes").write_text("mine")
    with pytest.raises(UsageError, match="is not empty and holds no run; give a new folder"):
        begun(out)
    assert (out if kind == "file" else out / "notes").read_text() == "mine"


def test_an_empty_folder_will_do(tmp_path):
    """--out may exist if nothing is in it."""
    begun(tmp_path)
    assert (tmp_path / "run.json").exists()


def test_a_log_is_cut_after_a_step(tmp_path):
    """Lines of later steps and the line that was being written when the run was killed are gone."""
    run = begun(tmp_path)
    for step in (1, 2, 3):
        run.log({"step": step, "kind": "step"})
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 4, "ki')
    run.truncate_log(2)
    assert run.read_log() == [{"kind": "step", "step": 1}, {"kind": "step", "step": 2}]
    run.log({"step": 3})
    assert [line["step"] for line in run.read_log()] == [1, 2, 3]


def test_a_run_without_a_log_has_nothing_to_cut(tmp_path):
    """Nor is a log made."""
    run = begun(tmp_path)
    run.truncate_log(5)
    assert run.read_log() == []
    assert not (tmp_path / "log.jsonl").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "is no run: it has no run.json"),
        ("{", "run.json is damaged"),
        ("[]", "was not written by kdtrain"),
        ('{"settings": {}, "network": {}}', "was not written by kdtrain"),
    ],
)
def test_a_folder_that_is_no_run_is_refused_by_the_option_that_named_it(tmp_path, text, message):
    """Missing, damaged and foreign records each have a sentence."""
    if text is not None:
        (tmp_path / "run.json").write_text(text)
    with pytest.raises(UsageError, match=f"--teacher .*{message}"):
        read_run(tmp_path, what="--teacher")


HOUR = Session(seconds=3600.0, device="cpu", processes=1, threads=2, from_step=0, to_step=9)
SHARED = Session(seconds=900.0, device="NVIDIA H200", processes=4, threads=8, from_step=6, to_step=20)


@pytest.mark.parametrize(
    ("file", "words"),
    [
        (
            "bundle.json",
            "it is a bundle, which 'kdtrain export' made of a run; ask it about slides by 'kdtrain predict'",
        ),
        ("sweep.json", "it is a sweep's folder; give one of the runs in it"),
        ("cache.json", "it is a teacher cache; give the run of its teacher"),
        ("index.json", "it is a shard set; give the run that was trained on it"),
        ("predictions.json", "it holds predictions of slides"),
        ("student/run.json", "it holds runs; give one of them, FOLDER/student"),
    ],
)
def test_a_folder_of_another_kind_is_called_what_it_is(tmp_path, file, words):
    """What else the programs write is told from a run by its file, with what to do with it or in place of it."""
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_text("{}")
    with pytest.raises(UsageError, match=r"^RUN .* is no run: ") as caught:
        read_run(tmp_path, what="RUN")
    assert words.replace("FOLDER", tmp_path.as_posix()) in str(caught.value)


def test_of_many_runs_five_are_named(tmp_path):
    """The others are counted."""
    for number in range(7):
        (tmp_path / f"r{number}").mkdir()
        (tmp_path / f"r{number}" / "run.json").write_text("{}")
    with pytest.raises(UsageError, match=r"r4 and 2 more$"):
        read_run(tmp_path, what="RUN")


def test_a_folder_that_is_not_there_is_said_to_be_absent(tmp_path):
    """Not that it lacks a file."""
    with pytest.raises(UsageError, match="absent is no run: there is no such folder"):
        read_run(tmp_path / "absent", what="RUN")


def test_sessions_come_back_as_written(tmp_path):
    """In their order; a run without any, or from before they were kept, has none."""
    run = begun(tmp_path)
    assert run.sessions() == []
    run.write_sessions([HOUR])
    run.write_sessions([HOUR, SHARED])
    assert run.sessions() == [HOUR, SHARED]
    assert json.loads((tmp_path / "sessions.json").read_text())[1] == {
        "seconds": 900.0,
        "device": "NVIDIA H200",
        "processes": 4,
        "threads": 8,
        "from_step": 6,
        "to_step": 20,
    }


def test_four_processes_for_a_quarter_of_an_hour_cost_an_hour():
    """Device-hours add up over processes and sessions; steps done twice are paid twice."""
    assert cost_hours([]) == 0
    assert cost_hours([SHARED]) == 1
    assert cost_hours([HOUR, SHARED]) == 2


@pytest.mark.parametrize("text", ["[{", "[1]", '[{"seconds": 1}]', "3", '[{"second": 1}]'])
def test_damaged_sessions_are_refused(tmp_path, text):
    """The message names the file and what to do."""
    run = begun(tmp_path)
    (tmp_path / "sessions.json").write_text(text)
    with pytest.raises(UsageError, match=r"sessions.json is damaged .*restore it, or remove it"):
        run.sessions()
