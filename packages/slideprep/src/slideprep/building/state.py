"""What a finished set must remember so that it can be changed: ``.slideprep/set.json``.

Scans and shard records are in the workspace already; here is what they do not say: where every slide went and why, what
failed before a shard was begun, the pictures of slides that failed. Written by every build, just before the index.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Base64Bytes, BaseModel, ConfigDict, Field

from slideprep.building.finished import Finished, is_synthetic
from slideprep.labels.split_plan import PlannedSlide
from slideprep.shards.format import WORKSPACE
from slideprep.shards.records import Failure

STATE_PATH = f"{WORKSPACE}/set.json"


class SlideState(BaseModel):
    """Where one slide went, as :class:`~slideprep.labels.split_plan.PlannedSlide` says it, and if it could be read.

    Attributes:
        scanned: Whether its scan belongs to the set.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    patient: str
    label: str | None
    split: str | None
    left_out: str | None
    scanned: bool

    def planned(self, name: str) -> PlannedSlide:
        """The slide's place in the split."""
        return PlannedSlide(
            name=name, patient=self.patient, label=self.label, split=self.split, left_out=self.left_out
        )


class SetState(BaseModel):
    """The content of ``set.json``.

    Attributes:
        slides: By name, those that are left out among them.
        failures: Failures of slides, before any shard was begun; those of regions are in the shards' records.
        pictures: Thumbnails (JPEG) of slides that failed, by name.
        synthetic: Whether every slide was generated.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    slides: dict[str, SlideState]
    failures: tuple[Failure, ...]
    pictures: Annotated[dict[str, Base64Bytes], Field(default_factory=dict)]
    synthetic: bool


def dump_state(finished: Finished) -> bytes:
    """The bytes of ``set.json``."""
    slides = {
        name: SlideState(
            patient=slide.patient,
            label=slide.label,
            split=slide.split,
            left_out=slide.left_out,
            scanned=name in finished.scans,
        )
        for name, slide in sorted(finished.prepared.plan.slides.items())
    }
    state = SetState.model_construct(
        slides=slides,
        failures=tuple(finished.failures),
        pictures=dict(sorted(finished.pictures.items())),
        synthetic=is_synthetic(finished),
    )
    return state.model_dump_json(indent=1).encode()
