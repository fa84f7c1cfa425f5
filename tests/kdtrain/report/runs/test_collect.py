"""Which runs a report takes, what it calls them, and what it refuses to put into one table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fixtures.report_runs import predictions, rights, write_run, write_sweep
from kdtrain.errors import UsageError
from kdtrain.files import sha256_of
from kdtrain.report.runs.collect import Collection, collect
from kdtrain.report.runs.groups import group_runs, method_of

SAID = predictions(rights(8, 2))


def _collect(*runs: object) -> Collection:
    return collect([str(run) for run in runs], split=None, shards=None)


def _entry(name: str, method: str, magnification: float, **fields: object) -> dict[str, object]:
    return {
        "name": name,
        "folder": f"runs/{name}",
        "method": method,
        "magnification": magnification,
        "seed": 0,
        **fields,
    }


@pytest.mark.parametrize(
    ("settings", "label"),
    [
        ({"phase": "teacher"}, "Teacher"),
        ({"phase": "baseline"}, "Baseline"),
        ({"phase": "distill", "resize": "maxpool+bicubic", "train_on": ["train"]}, "KD"),
        ({"phase": "distill", "resize": "maxpool+bicubic", "train_on": ["aux1"]}, "KD (aux1)"),
        ({"phase": "distill", "resize": "maxpool", "train_on": ["train"]}, "KD+MP"),
        ({"phase": "distill", "resize": "bicubic", "train_on": ["train", "aux1"]}, "KD+INT (train+aux1)"),
        ({"phase": "distill", "resize": "none", "train_on": ["train"]}, "KD (logits only)"),
    ],
)
def test_a_run_is_called_as_in_the_paper(settings: dict[str, object], label: str) -> None:
    """Without a sweep, a run's label follows from its phase, its training set and its resize."""
    assert method_of({"settings": settings, "shard_set": {}}, {}) == label


def test_a_fine_tuned_run_is_called_after_its_student(tmp_path: Path) -> None:
    """A fine-tuned run has its student's label and 'fine-tuned', whichever of the two is named first."""
    student = write_run(tmp_path / "s", "distill", 1, SAID, settings={"train_on": ["aux1"]})
    known = {"student": {"weights_sha256": sha256_of(student / "model.safetensors")}}
    tuned = write_run(tmp_path / "f", "finetune", 1, SAID, shard_set=known)
    assert [run.method for run in _collect(tuned, student).runs] == ["KD (aux1) fine-tuned", "KD (aux1)"]
    assert [run.method for run in _collect(tuned).runs] == ["Student fine-tuned"]


def test_a_label_can_be_given(tmp_path: Path) -> None:
    """'LABEL=RUN' names a run's method, so that two baselines that differ stand side by side."""
    run = write_run(tmp_path / "a", "baseline", 1, SAID)
    other = write_run(tmp_path / "b", "baseline", 1, SAID, settings={"lr": 0.1})
    assert [one.method for one in _collect(run, f"High rate={other}").runs] == ["Baseline", "High rate"]


def test_sentences_of_a_sweep_are_of_one_line(tmp_path: Path) -> None:
    """Title, description and reasons that are written over several lines are read as one."""
    write_run(tmp_path / "runs/a", "distill", 1, SAID)
    lost = _entry("b", "KD", 2, state="failed", reason="no memory:\n  2 GB\n")
    sweep = write_sweep(
        tmp_path, [_entry("a", "KD", 1), lost], title="A\nsweep", about="One line\nand another.\n"
    )
    found = _collect(sweep)
    assert (found.title, found.about) == ("A sweep", ("One line and another.",))
    assert found.missing[0].reason == "no memory: 2 GB"


def test_a_label_is_of_a_run(tmp_path: Path) -> None:
    """'LABEL=SWEEP' is refused, since a sweep's runs have labels of their own."""
    write_run(tmp_path / "runs/a", "distill", 1, SAID)
    sweep = write_sweep(tmp_path, [_entry("a", "KD", 1)])
    with pytest.raises(UsageError, match="gives one label to a sweep"):
        _collect(f"Mine={sweep}")


def test_a_moved_command_finds_its_shards(tmp_path: Path) -> None:
    """Relative paths of a run are tried from the folder in which it was trained, told from its own name there."""
    run = write_run(tmp_path / "runs/a", "distill", 1, SAID)
    record = json.loads((run / "run.json").read_text())
    record["other_settings"] = {"shards": "shards/mine", "out": "runs/a"}
    (run / "run.json").write_text(json.dumps(record))
    assert _collect(run).shards == (Path("shards/mine"), tmp_path / "shards/mine")


def test_a_sweep_names_its_runs(tmp_path: Path) -> None:
    """Inside a sweep the labels, the title, the unit and the split are the sweep's; a run named twice counts once."""
    write_run(tmp_path / "runs/a", "distill", 1, SAID, split="val")
    sweep = write_sweep(tmp_path, [_entry("a", "KD (ADv1)", 1)], splits=["val"], unit="sample")
    found = _collect(sweep, sweep / "runs/a")
    assert [run.method for run in found.runs] == ["KD (ADv1)"]
    assert (found.title, found.unit, found.split) == ("A sweep", "sample", "val")


def test_runs_that_a_sweep_lacks_are_listed(tmp_path: Path) -> None:
    """A sweep's failed, waiting and unevaluated runs are listed, each with its reason; what is on disk decides."""
    write_run(tmp_path / "runs/done", "baseline", 1, SAID)
    write_run(tmp_path / "runs/unmeasured", "baseline", 2, None)
    sweep = write_sweep(
        tmp_path,
        [
            _entry("done", "Baseline", 1, state="waiting"),
            _entry("unmeasured", "Baseline", 2),
            _entry("crashed", "KD", 1, state="failed", reason="out of memory"),
            _entry("later", "KD", 2, state="waiting"),
        ],
    )
    found = _collect(sweep)
    assert [run.name for run in found.runs] == ["done"]
    said = {run.name: (run.state, run.reason) for run in found.missing}
    assert said["crashed"] == ("failed", "out of memory")
    assert said["later"] == ("waiting", "not finished")
    assert said["unmeasured"][0] == "waiting"
    assert "not evaluated on test" in said["unmeasured"][1]


def test_a_run_named_by_itself_must_be_evaluated(tmp_path: Path) -> None:
    """A run that is not evaluated is refused with the command that evaluates it."""
    write_run(tmp_path / "a", "baseline", 1, None)
    with pytest.raises(UsageError, match=r"kdtrain evaluate .*/a --shards shards/absent --split test"):
        _collect(tmp_path / "a")


def test_weights_that_were_not_evaluated_are_refused(tmp_path: Path) -> None:
    """Metrics of other weights than those in the folder are not this run's."""
    run = write_run(tmp_path / "a", "baseline", 1, SAID)
    other = write_run(tmp_path / "b", "baseline", 1, SAID, seed=1)
    (other / "model.safetensors").replace(run / "model.safetensors")
    with pytest.raises(UsageError, match="weights are not those that were evaluated on test"):
        _collect(run)


def test_an_unfinished_run_is_refused(tmp_path: Path) -> None:
    """A run without its network is refused, and told to be gone on with."""
    run = write_run(tmp_path / "a", "baseline", 1, SAID)
    (run / "model.safetensors").unlink()
    with pytest.raises(UsageError, match="training is not finished"):
        _collect(run)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    """A folder without run.json or sweep.json is refused by name, and so is one that is not there."""
    with pytest.raises(UsageError, match=r"is no run: it has no run\.json"):
        _collect(tmp_path)
    with pytest.raises(UsageError, match="is no folder"):
        _collect(tmp_path / "absent")


def test_a_folder_of_runs_is_its_runs(tmp_path: Path) -> None:
    """What lies right inside it and is a run is reported, by name, and nothing else there matters."""
    for name in ("b", "a"):
        write_run(tmp_path / "runs" / name, "baseline", 1, SAID, seed=ord(name))
    (tmp_path / "runs" / "bundle").mkdir()
    (tmp_path / "runs" / "notes.txt").write_text("mine")
    found = _collect(tmp_path / "runs")
    assert [run.folder.name for run in found.runs] == ["a", "b"]
    with pytest.raises(UsageError, match="gives one label to a folder of 2 runs"):
        _collect(f"Mine={tmp_path / 'runs'}")


def test_a_folder_of_sweeps_and_runs_is_all_of_them(tmp_path: Path) -> None:
    """A sweep beside the teacher that it took: both are reported, the teacher once, by the sweep's names."""
    teacher = write_run(tmp_path / "teacher", "teacher", 10, SAID)
    write_run(tmp_path / "sweep" / "runs" / "a", "distill", 1, SAID)
    own = {**_entry("teacher", "Mine", 10), "folder": str(teacher)}
    write_sweep(tmp_path / "sweep", [_entry("a", "Narrow", 1), own], title="A sweep")
    found = _collect(tmp_path)
    assert sorted(run.method for run in found.runs) == ["Mine", "Narrow"]
    assert found.title == "A sweep"
    with pytest.raises(UsageError, match="gives one label to a sweep"):
        _collect(f"Mine={tmp_path}")


def test_the_folder_of_a_sweep_s_runs_has_its_labels(tmp_path: Path) -> None:
    """Two shapes of one method stand apart there too; one that is named by itself is called after its phase."""
    for name in ("a", "b"):
        write_run(tmp_path / "runs" / name, "baseline", 1, SAID)
    write_sweep(tmp_path, [_entry("a", "Wide", 1), _entry("b", "Narrow", 1)])
    assert [run.method for run in _collect(tmp_path / "runs").runs] == ["Wide", "Narrow"]
    assert [run.method for run in _collect(tmp_path / "runs" / "a").runs] == ["Baseline"]
    (tmp_path / "sweep.json").write_text("{}")
    assert {run.method for run in _collect(tmp_path / "runs").runs} == {"Baseline"}


def test_a_run_in_a_folder_of_runs_must_be_evaluated(tmp_path: Path) -> None:
    """It is as if each were named: none is left out in silence."""
    write_run(tmp_path / "a", "baseline", 1, SAID)
    write_run(tmp_path / "b", "baseline", 1, None, seed=1)
    with pytest.raises(UsageError, match="b: it is not evaluated on test: run 'kdtrain evaluate"):
        _collect(tmp_path)


def test_two_shard_sets_are_refused(tmp_path: Path) -> None:
    """Numbers on the samples of two shard sets never stand in one table."""
    a = write_run(tmp_path / "a", "baseline", 1, SAID)
    b = write_run(tmp_path / "b", "distill", 1, SAID, evaluated_on="b" * 64)
    with pytest.raises(UsageError, match=r"shard set aaaaaaaaaaaa, .*/b on bbbbbbbbbbbb"):
        _collect(a, b)


def test_other_samples_are_refused(tmp_path: Path) -> None:
    """Predictions of other samples are refused even where the shard set is said to be the same."""
    a = write_run(tmp_path / "a", "baseline", 1, SAID)
    b = write_run(tmp_path / "b", "distill", 1, SAID[:6])
    with pytest.raises(UsageError, match="not of the same samples"):
        _collect(a, b)


def test_the_same_seed_twice_is_refused(tmp_path: Path) -> None:
    """Two runs of one method, magnification and seed would give one cell two numbers."""
    a = write_run(tmp_path / "a", "baseline", 1, SAID)
    b = write_run(tmp_path / "b", "baseline", 1, SAID)
    with pytest.raises(UsageError, match=r"both Baseline at 1x with seed 0.*LABEL=RUN"):
        group_runs(_collect(a, b).runs)


def test_unlike_runs_are_not_averaged(tmp_path: Path) -> None:
    """Two seeds of a method whose settings differ otherwise are refused, naming what differs."""
    a = write_run(tmp_path / "a", "baseline", 1, SAID)
    b = write_run(tmp_path / "b", "baseline", 1, SAID, seed=1, settings={"epochs": 9})
    with pytest.raises(UsageError, match="epochs 3 against 9"):
        group_runs(_collect(a, b).runs)


def test_students_of_unlike_teachers_are_not_averaged(tmp_path: Path) -> None:
    """Seeds may have each a teacher of its own, but not one of another magnification."""
    a, b = (
        write_run(
            tmp_path / name,
            "distill",
            1,
            SAID,
            seed=seed,
            shard_set={"teacher": {"weights_sha256": name * 64, "network": {"magnification": magnification}}},
        )
        for seed, (name, magnification) in enumerate((("c", 10.0), ("d", 5.0)))
    )
    with pytest.raises(UsageError, match=r"the teacher's magnification 10\.0 against 5\.0"):
        group_runs(_collect(a, b).runs)


def test_one_network_twice_counts_once(tmp_path: Path) -> None:
    """A teacher that two sweeps copied into their folders is one run, not two with the same seed."""
    a = write_run(tmp_path / "one/t", "teacher", 1, SAID)
    b = write_run(tmp_path / "two/t", "teacher", 1, SAID)
    assert [len(group.runs) for group in group_runs(_collect(a, b).runs)] == [1]


def test_groups_are_in_the_order_of_the_paper(tmp_path: Path) -> None:
    """Teachers, then baselines, then students as they were given; within a method from high to low magnification."""
    runs = [
        write_run(tmp_path / "1", "distill", 1, SAID, settings={"train_on": ["aux1"]}),
        write_run(tmp_path / "2", "distill", 1, SAID),
        write_run(tmp_path / "3", "distill", 2, SAID),
        write_run(tmp_path / "4", "baseline", 1, SAID),
        write_run(tmp_path / "5", "teacher", 10, SAID),
    ]
    titles = [group.title for group in group_runs(_collect(*runs).runs)]
    assert titles == ["Teacher at 10x", "Baseline at 1x", "KD (aux1) at 1x", "KD at 2x", "KD at 1x"]


def test_nothing_to_report_is_an_error(tmp_path: Path) -> None:
    """A sweep of which no run is finished gives the reasons instead of an empty page."""
    sweep = write_sweep(tmp_path, [_entry("a", "KD", 1, state="failed", reason="no space left")])
    with pytest.raises(UsageError, match=r"none of the runs can be reported yet:\s+a: no space left"):
        _collect(sweep)
