"""What a report is made of: run folders and sweep folders in, evaluated runs that may be compared out.

Runs may be compared that were evaluated on the same samples of the same shard set; anything else is refused. A run that
was named by itself must be there in full. Of a sweep, runs that are not are listed, and the rest is reported.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kdtrain.errors import UsageError
from kdtrain.evaluation.bootstrap import Unit
from kdtrain.files import sha256_of
from kdtrain.report.runs.folds import pool_folds
from kdtrain.report.runs.groups import method_of
from kdtrain.report.runs.run import FEATURES_ALONE, Run, not_ready, read_evaluated
from kdtrain.report.runs.sweep_file import PaperNumbers, Sweep, is_sweep, read_sweep
from kdtrain.shards.locations import Location, location_of
from kdtrain.training.run_folder import MODEL_FILE, RUN_FILE, read_run, runs_in

SPLIT = "test"
"""Reported where neither the command nor a sweep says otherwise."""


@dataclass(frozen=True, kw_only=True)
class Missing:
    """A run of a sweep that cannot be reported, and why."""

    name: str
    method: str
    magnification: float
    seed: int
    state: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Collection:
    """Runs that may be compared, and what is known of where they come from.

    Attributes:
        runs: At least one, in the order given.
        missing: Runs that the sweeps name and that are not there.
        split: All were evaluated on it.
        unit: What the sweep says that the bootstrap draws; None without a sweep.
        title: Title of the sweep; "" without one.
        about: Descriptions of the sweeps, a text each.
        shards: Where the shard set may lie.
        paper: The paper's numbers.
        paper_source: Where in the paper they stand.
    """

    runs: tuple[Run, ...]
    missing: tuple[Missing, ...]
    split: str
    unit: Unit | None
    title: str
    about: tuple[str, ...]
    shards: tuple[Location, ...]
    paper: PaperNumbers
    paper_source: str


@dataclass(frozen=True, kw_only=True)
class _Named:
    """A run that was asked for; ``missing`` is what a sweep knows of it, None for one that was named by itself."""

    folder: Path
    name: str
    label: str | None
    missing: Missing | None = None


def collect(arguments: Sequence[str], *, split: str | None, shards: Location | None) -> Collection:
    """Read the runs that a report is asked for.

    Args:
        arguments: Folders of a run, of a sweep, or of several of both; ``LABEL=RUN`` says what a run's method is
            called.
        split: ``--split``; None takes a sweep's first, or else test.
        shards: ``--shards``, for messages.

    Raises:
        UsageError: A folder is neither; a run named by itself is not finished or not evaluated; none is left; or
            the runs are not of the same samples.
    """
    sweeps: dict[Path, Sweep] = {}
    named: dict[Path, _Named] = {}
    for argument in arguments:
        label, folder = _parse(argument)
        of_it = {path: read_sweep(path) for path in _sweeps(folder)}
        if of_it and label is not None:
            raise UsageError(
                f"'{argument}' gives one label to a sweep, whose runs have labels of their own; give the sweep "
                "without a label, or its runs with one each"
            )
        sweeps |= of_it
        found = [one for path, sweep in of_it.items() for one in _of_sweep(path, sweep)]
        if folder not in of_it:
            found += _named_by(folder, label, required=not found)
        for one in found:
            named.setdefault(one.folder.resolve(), one)
    first = next(iter(sweeps.values()), None)
    split = split or (first.splits[0] if first else SPLIT)
    runs, missing = _read(list(named.values()), split, shards)
    if not runs:
        raise UsageError(
            "none of the runs can be reported yet:\n  "
            + "\n  ".join(f"{m.name}: {m.reason}" for m in missing)
        )
    check_comparable(runs, split)
    return Collection(
        runs=runs,
        missing=missing,
        split=split,
        unit=first.unit if first else None,
        title=first.title if first else "",
        about=tuple(sweep.about for sweep in sweeps.values() if sweep.about),
        shards=tuple(dict.fromkeys(_shard_folders(sweeps, runs))),
        paper=_paper(sweeps.values()),
        paper_source="; ".join(dict.fromkeys(s.paper_source for s in sweeps.values() if s.paper_source)),
    )


def check_comparable(runs: Sequence[Run], split: str) -> None:
    """Refuse runs that were not evaluated on the same samples of one shard set.

    Raises:
        UsageError: Names two runs that differ, and what to do.
    """
    first = runs[0]
    truth = [(one.key, one.slide, one.patient, one.label) for one in first.predictions]
    for run in runs[1:]:
        if run.shard_set_sha256 != first.shard_set_sha256:
            raise UsageError(
                f"{first.name} was evaluated on the shard set {first.shard_set_sha256[:12]}, {run.name} on "
                f"{run.shard_set_sha256[:12]}: numbers on different samples cannot stand in one table; evaluate both "
                "on one set with 'kdtrain evaluate', or write two reports"
            )
        own = [(one.key, one.slide, one.patient, one.label) for one in run.predictions]
        if run.classes != first.classes or own != truth:
            raise UsageError(
                f"the predictions of {first.name} and {run.name} on {split} are not of the same samples and classes; "
                "run 'kdtrain evaluate' on both again"
            )


def _parse(argument: str) -> tuple[str | None, Path]:
    label, equals, rest = argument.partition("=")
    if equals and not Path(argument).exists():
        return label, Path(rest)
    return None, Path(argument)


def _sweeps(folder: Path) -> list[Path]:
    """The folder, if it is a sweep's; else those right inside it, unless it is a run's."""
    if is_sweep(folder) or (folder / RUN_FILE).exists() or not folder.is_dir():
        return [folder] if is_sweep(folder) else []
    return sorted(path for path in folder.iterdir() if is_sweep(path))


def _named_by(folder: Path, label: str | None, *, required: bool) -> list[_Named]:
    """The run, or those right inside a folder of runs, as if each were named; some where they are required."""
    inside = [] if (folder / RUN_FILE).exists() else runs_in(folder)
    if inside and label is not None:
        raise UsageError(
            f"'{label}={folder}' gives one label to a folder of {len(inside)} runs; give its runs, with a label each"
        )
    if inside or not required:
        return [_single(path, _label_in_sweep(path)) for path in inside]
    return [_single(folder, label)]


def _single(folder: Path, label: str | None) -> _Named:
    if not folder.is_dir():
        raise UsageError(f"RUN {folder} is no folder; give folders of runs or of sweeps")
    read_run(folder, what="RUN")
    return _Named(folder=folder, name=folder.as_posix(), label=label)


def _label_in_sweep(folder: Path) -> str | None:
    """What the sweep that a run lies in calls its method; None where it lies in none, or in one that cannot be read.

    In a sweep's folder of runs, two shapes of one method would else have one name.
    """
    for place in folder.resolve().parents[:2]:
        try:
            runs = read_sweep(place).runs if is_sweep(place) else ()
        except UsageError:
            continue
        for run in runs:
            if (place / run.folder).resolve() == folder.resolve():
                return run.method
    return None


def _of_sweep(folder: Path, sweep: Sweep) -> Iterator[_Named]:
    for run in sweep.runs:
        missing = Missing(
            name=run.name,
            method=run.method,
            magnification=run.magnification,
            seed=run.seed,
            state=run.state,
            reason=run.reason,
        )
        yield _Named(folder=folder / run.folder, name=run.name, label=run.method, missing=missing)


def _read(
    named: Sequence[_Named], split: str, shards: Location | None
) -> tuple[tuple[Run, ...], tuple[Missing, ...]]:
    ready, missing, refused = [], [], []
    for one in named:
        reason = _reason(one, split, shards)
        if reason is None:
            ready.append(one)
        elif one.missing is None:
            refused.append(f"{one.name}: {reason}")
        elif reason != FEATURES_ALONE:  # of a sweep: others were made of it
            missing.append(_with_reason(one.missing, reason))
    if refused:
        raise UsageError("a report is made of evaluated runs:\n  " + "\n  ".join(refused))
    labels = _labels(ready)
    runs = [read_evaluated(one.folder, split, name=one.name, method=labels[one.folder]) for one in ready]
    pooled, left_out = pool_folds(runs)
    return pooled, (*missing, *_left_out(left_out, ready))


def _left_out(runs: Sequence[tuple[Run, str]], ready: Sequence[_Named]) -> Iterator[Missing]:
    """Runs of folds whose others are not there.

    Raises:
        UsageError: They were named by themselves.
    """
    known = {one.folder: one.missing for one in ready}
    for run, reason in runs:
        missing = known[run.folder]
        if missing is None:
            raise UsageError(f"a report is of all folds together:\n  {run.name}: {reason}")
        yield replace(missing, reason=reason)


def _reason(one: _Named, split: str, shards: Location | None) -> str | None:
    if one.missing is not None and not (one.folder / MODEL_FILE).is_file():
        return one.missing.reason or "not finished"
    return not_ready(one.folder, split, shards)


def _with_reason(missing: Missing, reason: str) -> Missing:
    # A run that is trained but not evaluated is, to its sweep, one that still has to be gone on with.
    state = "waiting" if missing.state == "finished" else missing.state
    return replace(missing, state=state, reason=reason)


def _labels(ready: Sequence[_Named]) -> Mapping[Path, str]:
    """By folder. Distilled runs first: a fine-tuned run is called after its student."""
    records = {one.folder: read_run(one.folder, what="RUN", finished=True) for one in ready}
    labels: dict[Path, str] = {}
    students: dict[str, str] = {}
    for one in sorted(ready, key=lambda one: records[one.folder]["settings"]["phase"] == "finetune"):
        record = records[one.folder]
        labels[one.folder] = one.label or method_of(record, students)
        if record["settings"]["phase"] == "distill":
            students[sha256_of(one.folder / MODEL_FILE)] = labels[one.folder]
    return labels


def _shard_folders(sweeps: Mapping[Path, Sweep], runs: Sequence[Run]) -> Iterator[Location]:
    """Where the shard set was. Relative paths are from where the commands were run: here, or as the runs tell."""
    for sweep in sweeps.values():
        yield location_of(sweep.shards)
    for run in runs:
        others = run.record.get("other_settings", {})
        if recorded := others.get("shards"):
            yield location_of(recorded)
            if isinstance(location_of(recorded), Path):
                yield _trained_from(run.folder, Path(others.get("out") or "")) / recorded


def _trained_from(folder: Path, out: Path) -> Path:
    """The folder in which a run's command was given, told from how it named the run's: ``--out``."""
    here = folder.resolve()
    if out.parts and here.parts[-len(out.parts) :] == out.parts:
        return Path(*here.parts[: -len(out.parts)])
    return Path()


def _paper(sweeps: Iterable[Sweep]) -> PaperNumbers:
    merged: PaperNumbers = {}
    for sweep in sweeps:
        for method, by_magnification in sweep.paper.items():
            merged[method] = {**by_magnification, **merged.get(method, {})}
    return merged
