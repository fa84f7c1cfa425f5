"""The names that a set shows: those of its slides and patients, or the pseudonyms of one mapping.

A mapping has a salt of its own, so another one gives a patient of the set another pseudonym: the patient would pass for
a new one and could come into a second split.
"""

from __future__ import annotations

import re
from pathlib import Path

from slideprep.errors import UsageError
from slideprep.growing.current import CurrentSet
from slideprep.labels.pseudonyms import Pseudonyms

_PSEUDONYM = re.compile(r"slide-[0-9a-f]{12}")


def is_hidden(current: CurrentSet) -> bool:
    """Whether a set shows pseudonyms."""
    return all(_PSEUDONYM.fullmatch(name) for name in current.plan.slides)


def mapping_of(current: CurrentSet, path: Path) -> Pseudonyms:
    """The mapping of a pseudonymised set.

    Args:
        current: The set.
        path: What was given as its mapping.

    Raises:
        UsageError: The set shows names, or the file is missing, is no mapping, or is that of another set.
    """
    if not is_hidden(current):
        raise UsageError(
            f"the slides of {current.out} are shown by name, so --pseudonymise would mix names and pseudonyms; "
            "leave it out"
        )
    if not path.exists():
        raise UsageError(
            f"--pseudonymise {path} does not exist, and a new mapping would give the patients of {current.out} other "
            "pseudonyms; give the mapping of its build"
        )
    pseudonyms = Pseudonyms(path)
    if current.plan.slides.keys().isdisjoint(pseudonyms.known("slide").values()):
        raise UsageError(
            f"--pseudonymise {path} is not the mapping of {current.out}: it knows none of its slides, so a patient of "
            "the set would pass for a new one; give the mapping of its build"
        )
    return pseudonyms
