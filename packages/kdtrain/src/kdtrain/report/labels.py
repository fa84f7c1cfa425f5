"""What a run's method is called in tables, from its record alone: "Baseline", "KD", "KD (aux1)", "KD+MP fine-tuned".

The paper's names (sections 4.4 and 5, and the supplement): KD is distillation with both resizes on the labelled
training split, a set in brackets is what was distilled on instead, +MP and +INT are one resize alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_RESIZES = {"maxpool+bicubic": "KD", "maxpool": "KD+MP", "bicubic": "KD+INT", "none": "KD (logits only)"}
FINE_TUNED = "fine-tuned"


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
            return _RESIZES[settings["resize"]] + ("" if sets == "train" else f" ({sets})")
