"""What decides whether an answer can be relied on, as the page says it first: questions in a fixed order, answered.

In: a :class:`~kdtrain.predict.page.tiles.SlidePage`. Out: a :class:`Check` for what the network was trained on, whether
the slide is like that, whether the two maps agree, how good its regions are to see, and what else is to know of the
file. A check that was passed is said as well: silence would not tell it from one that nobody made.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from kdtrain.predict.answers.prediction import QualityNumber, RegionPrediction
from kdtrain.predict.page.tiles import SlidePage
from kdtrain.predict.page.words import ended, number, regions_named, sentences

State = Literal["caution", "fine", "unknown"]
STATES: dict[State, str] = {"caution": "Caution", "fine": "Fine", "unknown": "Not known"}
"""What is read aloud before a check."""

DISAGREE = 0.4
"""Maps whose rank correlation is below this are said to disagree.

Of 219 maps of planted lesions by five students and five baselines (benchmarks/pointing.py), the peak of occlusion lay
in the lesion in 44 % of those below and 72 % of those above, that of Grad-CAM in 23 and 53 %; by chance 17.
"""

BLURRED = 0.3
"""Focus below this is a blur of some 1.5 µm and more; sharp H&E has 0.6 to 1 (slideprep's docs/own-slides.md)."""

MUCH: dict[QualityNumber, float] = {"ink": 0.05, "folds": 0.1, "bubbles": 0.1}
"""Shares from which on they are spoken of: less than leaves a region out of a training set, since one is looked at."""

_SHARES: dict[QualityNumber, str] = {
    "ink": "of it is under marker ink",
    "folds": "of its tissue lies in folds",
    "bubbles": "of it is in air bubbles",
}
# So many regions are spoken of one by one.
_NAMED = 3


@dataclass(frozen=True, kw_only=True)
class Check:
    """One question, answered.

    Attributes:
        title: The answer in a few words.
        state: "unknown" where it was not, or could not be, looked at.
        said: Sentences that say more.
    """

    title: str
    state: State
    said: tuple[str, ...] = ()


def checks(page: SlidePage) -> list[Check]:
    """All of them, in the order in which the page has them."""
    found = [_training(page), _likeness(page), _maps(page), _quality(page)]
    about = tuple(_file(page))
    return (
        [*found, Check(title="What else to know of the file", state="caution", said=about)]
        if about
        else found
    )


def _training(page: SlidePage) -> Check:
    if page.synthetic:
        said = (
            "A program drew them: the network has seen no tissue, and what it says of tissue means nothing."
        )
        return Check(title="Trained on synthetic slides", state="caution", said=(said,))
    return Check(title="Trained on slides of tissue", state="fine")


def _likeness(page: SlidePage) -> Check:
    slide = page.prediction
    odd = [region for region in slide.regions if region.outside]
    said = [f"The slide: {sentences(slide.outside)}"] if slide.outside else []
    if len(odd) <= _NAMED:
        said += [f"Region {region.index}: {sentences(region.outside)}" for region in odd]
    else:
        named = regions_named([region.index for region in odd])
        said.append(f"{named[:1].upper()}{named[1:]}: see the table of regions.")
    if said:
        return Check(title="Unlike the slides it was trained on", state="caution", said=tuple(said))
    if not slide.regions:
        said_of_none = "There is no region whose size and stain could be."
        return Check(
            title="Not compared with the slides it was trained on", state="unknown", said=(said_of_none,)
        )
    fine = "Nothing that was compared (magnification, field size, stain) lies beyond theirs."
    return Check(title="Like the slides it was trained on", state="fine", said=(fine,))


def _maps(page: SlidePage) -> Check:
    known = [(view.prediction.index, view.agreement) for view in page.regions if view.agreement is not None]
    apart = [(index, value) for index, value in known if value < DISAGREE]
    rest = [view.prediction.index for view in page.regions if view.agreement is None]
    if not known:
        return Check(title="Maps not compared", state="unknown", said=(_uncompared(page),))
    more = (f"Not compared: {regions_named(rest)}.",) if rest else ()
    if not apart:
        span = _span([value for _, value in known])
        said = f"Occlusion and Grad-CAM put a region's places in much the same order (agreement {span}; 1 is the same)."
        return Check(title="The maps agree", state="fine", said=(said, *more))
    if len(apart) <= _NAMED:
        places = ", ".join(f"region {index} ({figure(value)})" for index, value in apart)
    else:
        places = regions_named([index for index, _ in apart])
    said = f"Do not believe where they point in {places}; 1 is agreement, 0 is chance."
    return Check(title="The maps disagree", state="caution", said=(said, *more))


def _span(values: Sequence[float]) -> str:
    """From the lowest to the highest, or the one that there is."""
    low, high = figure(min(values)), figure(max(values))
    return low if low == high else f"{low} to {high}"


def figure(value: float) -> str:
    """An agreement or a focus as people write it: 0.71, never -0.00."""
    return f"{round(value, 2) + 0.0:.2f}"


def _uncompared(page: SlidePage) -> str:
    methods = {heat_map.method for view in page.regions for heat_map in view.maps}
    if not methods:
        return "No map was made."
    if len(methods) == 1:
        return "Only one of the two kinds of map was made."
    return "Regions are too small, or a map is the same everywhere."


def _quality(page: SlidePage) -> Check:
    regions = [region for region in page.prediction.regions if region.quality]
    if not regions:
        said = "Sharpness, ink, folds and bubbles are measured at full resolution only."
        return Check(title="Quality not measured", state="unknown", said=(said,))
    poor = [(region, faults) for region in regions if (faults := list(_faults(region)))]
    if not poor:
        sharp = [region.quality["focus"] for region in regions if region.quality["focus"] is not None]
        focus = f"focus {_span(sharp)}" if sharp else "no tissue to measure focus on"
        said = f"No region has much ink, folds or bubbles; {focus}."
        return Check(title="Regions are good to see", state="fine" if sharp else "unknown", said=(said,))
    if len(poor) <= _NAMED:
        said_of = tuple(f"Region {region.index}: {'; '.join(faults)}." for region, faults in poor)
    else:
        named = regions_named([region.index for region, _ in poor])
        said_of = (f"{named[:1].upper()}{named[1:]}: see the table of regions.",)
    return Check(title="Hard to see in places", state="caution", said=said_of)


def _faults(region: RegionPrediction) -> Iterator[str]:
    focus = region.quality["focus"]
    if focus is not None and focus < BLURRED:
        yield f"out of focus ({focus:.2f}; sharp slides have 0.6 to 1)"
    for name, much in MUCH.items():
        share = region.quality[name] or 0.0
        if share >= much:
            yield f"{100 * share:.0f} % {_SHARES[name]}"


def measures(region: RegionPrediction) -> str:
    """A region's quality for the table: "focus 0.66, ink 18 %"; nothing where it was not measured."""
    found = []
    for name, value in region.quality.items():
        if name == "focus":
            found.append("no focus" if value is None else f"focus {value:.2f}")
        elif value and value >= 0.005:
            found.append(f"{name} {100 * value:.0f} %")
    return ", ".join(found)


def _file(page: SlidePage) -> Iterator[str]:
    slide = page.prediction
    for index, why in slide.failed:
        yield f"Region {index} could not be read and does not count: {ended(why)}"
    for index, why in slide.left_out:
        yield f"Region {index} was left out: {ended(why)}"
    if slide.fast is not None:
        yield (
            f"Pixels come from a coarser copy in the file (pyramid level {slide.level}), not from full resolution. "
            f"Measured in region {slide.fast.region}, that changes them by {number(slide.fast.mean)} grey levels on "
            "average."
        )
    yield from map(ended, slide.warnings)
