"""Classes of a network and of labels that others made, matched by name. Pure.

An index of another set may name the same classes in another order, and a set of another hospital may lack one: the
names decide, never the numbers. What the network does not know is refused: an item of it could only be wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches

from kdtrain.errors import UsageError


def places_by_name(known: Sequence[str], named: Sequence[str], *, where: str, remedy: str) -> tuple[int, ...]:
    """Where each of the named classes stands among those that a network knows.

    Args:
        known: Classes of the network, in the order of its logits.
        named: Classes of labels, in an order of their own; each once.
        where: What names them, for messages.
        remedy: What to do about a misfit, for messages.

    Returns:
        One place for each of ``named``.

    Raises:
        UsageError: One of them is none of the network's.
    """
    misfits = [name for name in named if name not in known]
    if not misfits:
        return tuple(known.index(name) for name in named)
    raise UsageError(
        f"{where} has {_plural(misfits)}, and the network knows {', '.join(known)}: classes are matched by name, and "
        f"what it does not know it could only get wrong{''.join(_meant(known, misfits))}; {remedy}"
    )


def _plural(names: Sequence[str]) -> str:
    return f"the class{'es' if len(names) > 1 else ''} {', '.join(names)}"


def _meant(known: Sequence[str], misfits: Sequence[str]) -> Iterator[str]:
    """What a misfit may be another spelling of."""
    by_lower = {name.casefold().strip(): name for name in known}
    for name in misfits:
        if near := get_close_matches(name.casefold().strip(), by_lower, n=1):
            yield f" ({name} may be {by_lower[near[0]]})"
