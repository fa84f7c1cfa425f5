"""What is asked of a teacher of any kind, and what a cache records of it. No network, no file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from kdtrain.augment import Draw
from kdtrain.data.samples import LoadedSample
from kdtrain.data.teacher_cache.document import SourceEntry
from kdtrain.data.teacher_cache.view import TeacherView


class Source(Protocol):
    """A teacher that a cache can be made from.

    Attributes:
        entry: For ``cache.json``: what it is, by content, so that another under the old name is refused.
        channels: Of its vectors.
        classes: Whether it gives logits, of the set's classes in their order.
        magnifications: Whose images it wants decoded of every sample; none where it reads elsewhere.
    """

    @property
    def entry(self) -> SourceEntry: ...  # noqa: D102

    @property
    def channels(self) -> int: ...  # noqa: D102

    @property
    def classes(self) -> tuple[str, ...]: ...  # noqa: D102

    @property
    def magnifications(self) -> tuple[float, ...]: ...  # noqa: D102

    def views(
        self, sample: LoadedSample, draws: Sequence[Draw], student_size: tuple[int, int]
    ) -> list[TeacherView]:
        """The views of a sample, in the order of its draws; on the CPU.

        Args:
            sample: With its record, and images at ``magnifications``.
            draws: One a view.
            student_size: (width, height) of the student's image, in pixels.

        Raises:
            TrainingError: It fails for this sample; names slide, region and remedy.
        """
