"""Which patient is in which fold: every patient in one, classes spread as evenly as their counts allow. Pure.

Patients are dealt out class by class, the rarest class first. Each fold is to get as many patients of a class as any
other, or one less; those that get one more are the ones with the fewest patients so far, so that folds differ by one
patient in all as well. Within these numbers patients go by their samples, largest first, to the fold that has the
fewest samples of the class (Graham's rule, longest processing time first). Stratified folds vary less than folds by
chance (Kohavi 1995, A study of cross-validation and bootstrap for accuracy estimation and model selection).

What decides between equals is a digest of seed and name: not the order of files, nor that of the set's shards.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence

from kdtrain.errors import UsageError
from kdtrain.text import plural

LEAST = 2


def assign_folds(
    patients: Mapping[str, Mapping[int, int]], classes: Sequence[str], *, count: int, seed: int
) -> dict[str, int]:
    """The fold of every patient, from 1.

    Args:
        patients: Samples of every class that a patient has, by the class's number.
        classes: Names.
        count: K, the number of folds.
        seed: Seed of what decides between equals.

    Returns:
        By patient, in the order of their names.

    Raises:
        UsageError: Fewer than two folds, or more than the rarest class has patients.
    """
    if count < LEAST:
        raise UsageError(
            f"--folds {count}: the patients of one fold are tested by a network that learnt from the others, so there "
            "are two folds at least; give --folds 5, say"
        )
    owners = Counter(label for samples in patients.values() for label, n in samples.items() if n)
    _check_count(owners, classes, count)
    strata: dict[int, list[str]] = {}
    for name, samples in patients.items():
        strata.setdefault(min((owners[k], k) for k, n in samples.items() if n)[1], []).append(name)
    patients_in, samples_in = [0] * count, [0] * count
    found: dict[str, int] = {}
    for label in sorted(strata, key=lambda k: (owners[k], k)):
        sizes = {name: sum(patients[name].values()) for name in strata[label]}
        order = sorted(sizes, key=lambda name: (-sizes[name], _tie(seed, name)))
        room = _room(len(order), patients_in)
        of_class = [0] * count
        for name in order:
            fold = min(
                (i for i in range(count) if room[i]), key=lambda i: (of_class[i], samples_in[i], -room[i], i)
            )
            room[fold] -= 1
            of_class[fold] += sizes[name]
            samples_in[fold] += sizes[name]
            patients_in[fold] += 1
            found[name] = fold + 1
    return dict(sorted(found.items()))


def alike_in_several(patients: Mapping[str, int]) -> list[tuple[str, ...]]:
    """Names that are probably one person's and stand in several folds: "P-1", "p01" and "P 1".

    Args:
        patients: The fold of every patient.
    """
    groups: dict[tuple[str, ...], list[str]] = {}
    for name in sorted(patients):
        parts = re.findall(r"\d+|[^\W\d_]+", unicodedata.normalize("NFKC", name).casefold())
        groups.setdefault(tuple(part.lstrip("0") or "0" for part in parts), []).append(name)
    return [tuple(names) for names in groups.values() if len({patients[name] for name in names}) > 1]


def _check_count(owners: Mapping[int, int], classes: Sequence[str], count: int) -> None:
    rarest = min(owners, key=lambda k: (owners[k], k), default=None)
    if rarest is None:
        raise UsageError("--folds: the set has no labelled samples, and folds are of labelled patients")
    if count > owners[rarest]:
        there = plural(owners[rarest], "patient")
        remedy = (
            f"give --folds {owners[rarest]} or fewer"
            if owners[rarest] >= LEAST
            else "leave that class out of the set, or add patients of it"
        )
        raise UsageError(
            f"--folds {count}: class {classes[rarest]!r} has {there}, and every fold needs one of each class to test; "
            f"{remedy}"
        )


def _room(patients: int, so_far: Sequence[int]) -> list[int]:
    """How many patients of a class each fold gets: the same, and one more where there are the fewest so far."""
    each, more = divmod(patients, len(so_far))
    first = sorted(range(len(so_far)), key=lambda i: (so_far[i], i))[:more]
    return [each + (i in first) for i in range(len(so_far))]


def _tie(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed}\n{name}".encode()).digest()
