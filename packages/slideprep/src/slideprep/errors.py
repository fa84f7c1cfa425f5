"""The ways in which something can go wrong, and the exit code that each one becomes.

A usage error is found before any work and stops the program (exit code 2). An input error belongs to one slide
or one region: it is listed, that slide or region is left out, and the rest of the build goes on (exit code 3).
A failed cluster ends the program (exit code 1).
Messages say the rule, the reason, what was given and what to do.
"""


class SlideprepError(Exception):
    """What slideprep raises on purpose: each of the errors below, and :class:`slideprep.storage.files.OutputError`."""


class UsageError(SlideprepError):
    """The command, its options, or files that describe the whole run (labels, configuration) cannot be used."""


class InputError(SlideprepError):
    """One slide, or one region of it, cannot be used; the others can."""


class SlideOpenError(InputError):
    """A file cannot be opened as a slide."""


class SlideReadError(InputError):
    """Pixels of an opened slide cannot be read, or a decoder reported damage in them."""


class MagnificationError(InputError):
    """A slide's magnification is unknown, or a target would need upsampling."""


class TissueError(InputError):
    """Tissue detection cannot run on this slide, or found nothing usable."""


class ClusterError(SlideprepError):
    """Ray itself failed, through no fault of a slide: the run ends, and goes on when it is started again."""
