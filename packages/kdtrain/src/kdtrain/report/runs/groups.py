"""Runs that are one number of a table: the same method and magnification, and nothing but the seed differs.

In: runs. Out: groups, in the order of the tables. Whatever would average unlike runs is refused.

A method's name in tables follows from the run's record alone: "Baseline", "KD", "KD (aux1)", "KD+MP fine-tuned". The
paper's names (sections 4.4 and 5, and the supplement): KD is distillation with both resizes on the labelled
training split, a set in brackets is what was distilled on instead, +MP and +INT are one resize alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kdtrain.errors import UsageError
from kdtrain.report.runs.run import Run
from kdtrain.shards.models import magnification_name
from kdtrain.training.shape import Shape

_PHASES = ("teacher", "baseline", "distill", "finetune")
_OF_TEACHER = ("magnification", "model", "output_stride", "kind", "sha256")

_RESIZES = {"maxpool+bicubic": "KD", "maxpool": "KD+MP", "bicubic": "KD+INT", "none": "KD (logits only)"}
FINE_TUNED = "fine-tuned"


@dataclass(frozen=True, kw_only=True)
class RunGroup:
    """The runs of one method at one magnification, by seed."""

    method: str
    magnification: float
    runs: tuple[Run, ...]

    @property
    def phase(self) -> str:
        """The phase of all its runs."""
        return self.runs[0].phase

    @property
    def shape(self) -> Shape:
        """Of the network, the same in all its runs."""
        return Shape.of(self.runs[0].record["network"])

    @property
    def seeds(self) -> tuple[int, ...]:
        """Ascending."""
        return tuple(run.seed for run in self.runs)

    @property
    def title(self) -> str:
        """In sentences: "KD at 1.25x"."""
        return f"{self.method} at {magnification_name(self.magnification)}"

    @property
    def gflops(self) -> float:
        """GFLOPs of a forward pass: the runs share network, magnification and images."""
        return self.runs[0].cost.gflops


def group_runs(runs: Sequence[Run]) -> tuple[RunGroup, ...]:
    """Group runs by method and magnification: teachers, baselines, students, fine-tuned ones; high magnification first.

    Methods of a phase stay in the order in which they were given. A network that is there twice counts once.

    Raises:
        UsageError: Two runs of a group have the same seed, or differ in more than the seed.
    """
    distinct = {(run.method, run.magnification, run.seed, run.weights_sha256): run for run in reversed(runs)}
    kept = [run for run in runs if any(run is one for one in distinct.values())]
    order = {method: number for number, method in enumerate(dict.fromkeys(run.method for run in kept))}
    kept.sort(key=lambda run: (_PHASES.index(run.phase), order[run.method], -run.magnification, run.seed))
    members: dict[tuple[str, float], list[Run]] = {}
    for run in kept:
        members.setdefault((run.method, run.magnification), []).append(run)
    for (method, magnification), group in members.items():
        _check_group(f"{method} at {magnification_name(magnification)}", group)
    return tuple(RunGroup(method=m, magnification=x, runs=tuple(group)) for (m, x), group in members.items())


def differing(one: Mapping[str, Any], other: Mapping[str, Any], keys: Iterable[str]) -> list[str]:
    """What differs between two settings, "epochs 30 against 60", among the keys that both have."""
    return [
        f"{key} {json.dumps(one[key])} against {json.dumps(other[key])}"
        for key in keys
        if key in one and key in other and one[key] != other[key]
    ]


def _check_group(title: str, group: Sequence[Run]) -> None:
    first = group[0]
    for run, before in zip(group[1:], group, strict=False):
        if run.seed == before.seed:
            raise UsageError(
                f"{before.name} and {run.name} are both {title} with seed {run.seed}, so one cell of a table would "
                "have two numbers; leave one out, or give one a label of its own: 'LABEL=RUN'"
            )
    for run in group[1:]:
        one, other = decisive(first), decisive(run)
        if different := differing(one, other, sorted({*one, *other} - {"seed"})):
            raise UsageError(
                f"{first.name} and {run.name} would be averaged as {title}, but their settings differ: "
                f"{'; '.join(different)}; only seeds may differ: give one a label of its own, 'LABEL=RUN', or leave "
                "it out"
            )


def settings_of(run: Run) -> Mapping[str, Any]:
    """Its settings, with the shape that its network has: settings may leave it to the teacher or to a rule."""
    network = run.record["network"]
    usual = {"width": 1.0, "stem": "standard"}
    shape = {name: network[name] for name in ("model", "output_stride") if name in network}
    # Small images together or one by one, 0 or 1: last digits.
    together = {"micro_batch": 1} if run.settings.get("micro_batch") == 0 else {}
    return {**run.settings, **together, **shape, **{name: network.get(name, usual[name]) for name in usual}}


def decisive(run: Run) -> Mapping[str, Any]:
    """What decided the weights: the settings, and what kind of teacher, if any; which seed of it may differ."""
    known = run.record["shard_set"].get("teacher", {})
    teacher = {**known.get("network", {}), **{key: known[key] for key in ("kind", "sha256") if key in known}}
    return {
        **settings_of(run),
        **{f"the teacher's {key}": teacher[key] for key in _OF_TEACHER if key in teacher},
    }


def method_of(record: Mapping[str, Any], students: Mapping[str, str]) -> str:
    """The label of a run.

    Args:
        record: The content of run.json.
        students: Labels of distilled runs by the SHA-256 of their weights, which name a fine-tuned run's student. Of
            one that is not among them nothing is known but that it is one.
    """
    settings = record["settings"]
    match settings["phase"]:
        case "teacher":
            return "Teacher"
        case "baseline":
            return "Baseline"
        case "finetune":
            student = record["shard_set"].get("student", {}).get("weights_sha256", "")
            return f"{students.get(student, 'Student')} {FINE_TUNED}"
        case _:
            sets = "+".join(settings["train_on"])
            return _RESIZES.get(str(settings.get("resize")), "KD") + ("" if sets == "train" else f" ({sets})")
