"""The slides of one shard, opened as their samples come up; a few are kept open."""

from __future__ import annotations

from collections import Counter, OrderedDict
from contextlib import ExitStack

from slideprep.errors import InputError
from slideprep.shard_job import ShardJob
from slideprep.slides.fetch import fetched, forget
from slideprep.slides.reader import Slide
from slideprep.slides.readers.choose import open_slide

SLIDES_OPEN = 8
"""Slides that a task keeps open: each holds files and a cache of tiles, and a shard can be of a thousand small ones."""


class OpenSlides:
    """Opens the slides of a shard as their samples come up, and keeps a few of them open.

    Files that were fetched for it are removed with the slide's last sample: no other task opens the slide.

    Args:
        job: The shard.
        stack: Closes the slides with the task.

    Attributes:
        files: The slides by name, with what was fetched of those that were opened.
    """

    def __init__(self, job: ShardJob, stack: ExitStack) -> None:
        self._job = job
        self._left = Counter(sample.slide for sample in job.shard.samples)
        self._open: OrderedDict[str, tuple[Slide, ExitStack]] = OrderedDict()
        self.files = {name: source.file for name, source in job.slides.items()}
        stack.callback(self._close_down_to, 0)

    def get(self, name: str) -> Slide:
        """The slide, opened; to be asked for once for each of its samples."""
        self._left[name] -= 1
        if name not in self._open:
            self._close_down_to(SLIDES_OPEN - 1)
            with ExitStack() as opened:
                opened.callback(self._forget_if_done, name)
                self.files[name] = opened.enter_context(
                    fetched(self._job.slides[name].file, self._job.access)
                )
                self._open[name] = (self._opened(name, opened), opened.pop_all())
        self._open.move_to_end(name)
        return self._open[name][0]

    def _opened(self, name: str, stack: ExitStack) -> Slide:
        try:
            slide = open_slide(self.files[name])
        except InputError:
            self._left[name] = 0  # nobody asks for it again
            raise
        stack.callback(slide.close)
        return slide

    def _forget_if_done(self, name: str) -> None:
        if not self._left[name]:
            forget(self.files[name])

    def _close_down_to(self, count: int) -> None:
        while len(self._open) > count:
            _, (_, opened) = self._open.popitem(last=False)
            opened.close()
