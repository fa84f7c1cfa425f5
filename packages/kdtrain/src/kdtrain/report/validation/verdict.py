"""Does a network hold on others' cases? The answer in sentences, what decides trust first. Pure.

Balanced accuracy here is held against that of the network's own test split. Both are of other patients, so the interval
of the difference is put together from their two (MOVER: Zou and Donner 2008, "Construction of confidence limits about
effect measures", Statistics in Medicine 27, 1693-1702).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import hypot
from typing import Any

from kdtrain.bundle.training_data import SIZE_RATIO
from kdtrain.evaluation.predictions import calibrated
from kdtrain.report.tables.cells import percent
from kdtrain.report.validation.read import Validation
from kdtrain.report.validation.shared_classes import recall_at_home, recall_here, shared_classes
from kdtrain.text import plural

HOLDS_WITHIN = 0.05
"""A network holds where it is no more than five points worse, as far as the interval tells."""
MOST_OUTSIDE = 0.1
"""Of images like those of training, up to this share may lie outside their ranges, as was seen of test splits."""
NOTABLE = 1.0
"""Standard deviations between the means from which another stain is said."""
STAIN = {
    "tissue_share": "the share of the image that holds stain",
    "density_red": "density in red",
    "density_green": "density in green",
    "density_blue": "density in blue",
    "hue_red": "red's share of the density",
    "hue_green": "green's share of the density",
    "hue_blue": "blue's share of the density",
}
_DIGITS = 1


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Here less at home, fractions; the ends are None where one of both has no interval."""

    value: float
    low: float | None
    high: float | None


def difference(here: Mapping[str, float | None], home: Mapping[str, float | None]) -> Difference | None:
    """Of two estimates of different patients; None where one is undefined.

    Args:
        here: ``value``, ``low`` and ``high``.
        home: The same.
    """
    a, b = here["value"], home["value"]
    if a is None or b is None:
        return None
    a_low, a_high, b_low, b_high = here["low"], here["high"], home["low"], home["high"]
    if a_low is None or a_high is None or b_low is None or b_high is None:
        return Difference(value=a - b, low=None, high=None)
    return Difference(
        value=a - b, low=a - b - hypot(a - a_low, b_high - b), high=a - b + hypot(a_high - a, b - b_low)
    )


def verdict(found: Validation) -> tuple[str, ...]:
    """Two or three sentences: whether it holds, whether the images are of its kind, whether its certainty is right."""
    return (_holds(found), *_of_its_kind(found), *_certainty(found))


def _holds(found: Validation) -> str:
    home, level = found.home, found.level
    words, ours, theirs = _measures(found)
    if ours["value"] is None:
        return f"Nothing is measured here: no {level} has a class of its own."
    reached = f"{words} is {_estimate(ours)} on {plural(ours['n'], level)}"
    if found.own_images is not None:
        return f"These are not others' cases: {found.own_images}. Their {reached}, which tells nothing of elsewhere."
    if home is None:
        return (
            f"Whether it holds is not known: {reached}, and the bundle does not say what the network reaches on its "
            "own test split."
        )
    apart = None if theirs is None else difference(ours, theirs)
    if apart is None or theirs is None:
        return (
            f"Whether it holds is not known: {reached}, and nothing was measured at home to hold it against."
        )
    beside = f"{reached}, and {_estimate(theirs)} on the {theirs['n']:,} of its own test split"
    return f"{_word(apart)}: {beside}; {_apart(apart)}."


def _measures(found: Validation) -> tuple[str, Mapping[str, Any], Mapping[str, Any] | None]:
    """What it is called, here and at home: a mean over classes, which must be the same ones in both places."""
    here, home, classes = found.here, found.home, found.classes
    words, ours = "balanced accuracy", {**here["balanced_accuracy"], "n": here["n"]}
    if home is None:
        return words, ours, None
    shared = shared_classes(here, home, classes)
    if len(shared) == len(classes):
        return words, ours, {**home["balanced_accuracy"], "n": home["n"]}
    if not shared:
        return words, ours, None
    words += f" over {', '.join(shared)}, which both have,"
    return words, recall_here(here, classes, shared), recall_at_home(home, classes, shared)


def _word(apart: Difference) -> str:
    if apart.low is None or apart.high is None:
        return "Too few to tell whether it holds here"
    if apart.high < 0:
        return "Does not hold here"
    return "Holds here" if apart.low > -HOLDS_WITHIN else "Not decided whether it holds here"


def _apart(apart: Difference) -> str:
    points = f"the difference is {percent(apart.value, _DIGITS, '+')} points"
    if apart.low is None or apart.high is None:
        return f"{points}, without an interval"
    ends = (
        f"{points} (95 % interval {percent(apart.low, _DIGITS, '+')} to {percent(apart.high, _DIGITS, '+')})"
    )
    if apart.high < 0:
        return f"{ends}, so it is worse here, and not by chance"
    if apart.low > -HOLDS_WITHIN:
        return f"{ends}, so it is not over {percent(HOLDS_WITHIN, 0)} points worse"
    return f"{ends}, which leaves both open: more patients would tell"


def _of_its_kind(found: Validation) -> Iterator[str]:
    """Another objective alone makes no other image: at the network's magnification it is hardly seen."""
    shift = found.shift
    if shift is None:
        return
    ways, images = shift["outside_in"], shift["images"]
    if not ways:
        yield "The images are of its kind: none lies outside the training data in stain, size or scan."
        return
    (way, most), *others = sorted(ways.items(), key=lambda one: -one[1])
    outside = f"of {plural(images, 'image')}, {most:,} lie outside the training data in {way}"
    outside += "".join(f", {count:,} in {other}" for other, count in others)
    in_look = max((count for way, count in ways.items() if way != "objective"), default=0)
    if not in_look:
        yield f"The images are of its kind, but from other scans: {outside}."
    elif in_look <= MOST_OUTSIDE * images:
        yield f"Nearly all images are of its kind: {outside}."
    else:
        yield (
            f"The images are not of its kind: {outside}. What it says of those rests on nothing that it has seen, even "
            "where it is right."
        )


def differences(shift: Mapping[str, Any]) -> Iterator[str]:
    """In what the images differ from those of training, a sentence each: stain, size, scan.

    Args:
        shift: Of metrics.json.
    """
    moved = {
        name: one["shift"] for name, one in shift["stain"].items() if abs(one["shift"] or 0.0) >= NOTABLE
    }
    if moved:
        name = max(moved, key=lambda one: abs(moved[one]))
        side = "more" if moved[name] > 0 else "less"
        yield (
            f"The images are stained otherwise than those of training, most in {STAIN.get(name, name)}: "
            f"{abs(moved[name]):.1f} standard deviations {side} on average."
        )
    sizes = [one["beyond"] for name in ("longer_side_px", "area_px") if (one := shift[name]) is not None]
    if sizes and max(sizes):
        little = "" if "size" in shift["outside_in"] else f", none of them over {SIZE_RATIO:g} times so"
        yield f"{percent(max(sizes), 0)} % of the images are smaller or larger than any of training{little}."
    if shift["mpp"] is not None and shift["mpp"]["beyond"]:
        yield f"A pixel of {percent(shift['mpp']['beyond'], 0)} % of the images is of another size than in training."
    scans = shift["level0_objectives"]
    trained = {f"{power:g}" for power in scans["training"]}
    if trained and (other := set(scans["here"]) - trained - {"unknown"}):
        here, there = (", ".join(f"{p}x" for p in sorted(powers, key=float)) for powers in (other, trained))
        yield f"The slides were scanned at {here}, those of training at {there}."


def _certainty(found: Validation) -> Iterator[str]:
    """Whether it is right as often as it says, by sample: of these there are most."""
    level = found.metrics["levels"]["sample"]
    error, by_chance = level["probabilities"]["ece"]["value"], level["probabilities"]["ece_by_chance"]
    if error is None or by_chance is None:
        return
    said = float(calibrated(found.predictions, found.temperature).max(axis=1).mean())
    right = level["plain_accuracy"]["value"]
    heard = (
        f"it is {percent(said, 0)} % sure on average, and right in {percent(right, 0)} % of "
        f"{plural(level['n'], 'sample')}"
    )
    if error <= by_chance["high"]:
        yield f"Its probabilities may be taken as they are here, as far as so many tell: {heard}."
    elif said > right:
        yield f"Its probabilities are too high here: {heard}."
    else:
        yield f"Its probabilities are not to be taken as they are here: {heard}, and by how sure it is, it differs."


def _estimate(one: Mapping[str, float | None]) -> str:
    text = f"{percent(one['value'], _DIGITS)} %"
    if one["low"] is None or one["high"] is None:
        return text
    return f"{text} (95 % interval {percent(one['low'], _DIGITS)} to {percent(one['high'], _DIGITS)})"
