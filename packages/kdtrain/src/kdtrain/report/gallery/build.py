"""The gallery of the surest errors: results and a shard set in, one block of the report out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from kdtrain.report.gallery.cards import Cards, find_cards
from kdtrain.report.gallery.surest import ClassMistakes, Mistake, bounded, surest_errors
from kdtrain.report.gallery.thumbnails import Thumbnail, read_thumbnails
from kdtrain.report.model import Gallery, Paragraph, Picture, PictureRow
from kdtrain.report.runs.groups import RunGroup
from kdtrain.report.runs.results import Results
from kdtrain.report.runs.shard_set import FoundSet
from kdtrain.shards.locations import Url
from kdtrain.shards.models import magnification_name
from kdtrain.text import plural

Pictures = Literal["images", "keys", "none"]
"""What the gallery shows of each sample: its thumbnail and key, its key alone, or nothing: there is no gallery then."""
MOST_OF_CLASS = 6
MOST = 60
"""Of all classes together: with some 5 KB each the page stays one that can be mailed."""


@dataclass(frozen=True, kw_only=True)
class _Images:
    """What is known of the samples' images, by key; and why there are none at all, a sentence without its end."""

    found: Mapping[str, Thumbnail]
    reasons: Mapping[str, str]
    cards: Cards
    why_none: str = ""


_NO_IMAGES = _Images(found={}, reasons={}, cards=Cards())


def gallery(
    results: Results, group: RunGroup, found: FoundSet, *, wanted: Pictures | None, report_folder: Path
) -> tuple[Gallery | Paragraph, ...]:
    """The surest errors of every class.

    Args:
        results: Of whose teacher the answers stand beside.
        group: The network.
        found: The shard set.
        wanted: Of each sample; None takes images where the shards lie in a folder: those of a URL would be fetched.
        report_folder: The page's, from which its links lead.
    """
    if wanted == "none":
        return ()
    teacher = None if results.teacher is group else results.teacher
    mistakes = bounded(surest_errors(group, teacher, most=MOST_OF_CLASS), most=MOST)
    wrong = sum(one.wrong for one in mistakes)
    if not wrong:
        return (Paragraph(text=f"{_who(group)} is right on all {results.scores(group).n:,} tissue samples."),)
    images = _images(results, group, found, _keys(mistakes), wanted, report_folder)
    rows = [
        PictureRow(
            title=results.classes[number],
            note=_note(one),
            pictures=tuple(_picture(results, mistake, images, teacher) for mistake in one.surest),
        )
        for number, one in enumerate(mistakes)
        if one.samples
    ]
    return (
        Gallery(
            name="surest-errors",
            title=f"{group.title}: its surest errors",
            caption=_caption(group, images),
            rows=tuple(rows),
        ),
    )


def _keys(mistakes: Iterable[ClassMistakes]) -> list[str]:
    return [one.key for of_class in mistakes for one in of_class.surest]


def _images(
    results: Results,
    group: RunGroup,
    found: FoundSet,
    keys: Sequence[str],
    wanted: Pictures | None,
    report_folder: Path,
) -> _Images:
    if wanted == "keys":
        return replace(_NO_IMAGES, why_none="No thumbnails, as it was asked for")
    if found.index is None:
        return replace(_NO_IMAGES, why_none=f"No thumbnails: {found.why}; pass its folder as --shards")
    if wanted is None and isinstance(found.index.directory, Url):
        return replace(
            _NO_IMAGES,
            why_none="No thumbnails: the shards lie behind a URL; --gallery images fetches those that hold these",
        )
    thumbnails, reasons = read_thumbnails(
        found.index, keys, split=results.collection.split, magnification=group.magnification
    )
    why = set(reasons.values())
    if not thumbnails and len(why) == 1:
        return replace(_NO_IMAGES, why_none=f"No thumbnails: {why.pop()}")
    cards = find_cards(found.index.directory, report_folder)
    return _Images(found=thumbnails, reasons=reasons, cards=cards)


def _picture(results: Results, mistake: Mistake, images: _Images, teacher: RunGroup | None) -> Picture:
    found = images.found.get(mistake.key)
    card = images.cards.ids.get(mistake.slide, "")
    return Picture(
        key=mistake.key,
        slide=mistake.slide,
        truth=results.classes[mistake.truth],
        answered=results.classes[mistake.answered],
        probability=mistake.probability,
        beside=_beside(results, mistake, teacher),
        jpeg=found.jpeg if found else b"",
        size_px=found.size_px if found else (0, 0),
        why_none=images.reasons.get(mistake.key, ""),
        card=images.cards.page if card else "",
        card_id=card,
    )


def _beside(results: Results, mistake: Mistake, teacher: RunGroup | None) -> str:
    if mistake.beside is None or teacher is None:
        return ""
    number, probability = mistake.beside
    return f"{teacher.title}: {results.classes[number]}, {100 * probability:.0f} %"


def _note(one: ClassMistakes) -> str:
    if not one.wrong:
        return f"All {plural(one.samples, 'sample')} answered rightly."
    if len(one.surest) == one.wrong:
        shown = "all shown" if one.wrong > 1 else "shown"
    else:
        shown = (
            f"the surest {len(one.surest)} shown" if one.surest else "none shown: there are too many classes"
        )
    return f"{one.wrong:,} of {plural(one.samples, 'sample')} given to another class, {shown}."


def _who(group: RunGroup) -> str:
    seeds = len(group.runs)
    return group.title + f", of the mean probabilities of {seeds} seeds," * (seeds > 1)


def _caption(group: RunGroup, images: _Images) -> str:
    seeds = len(group.runs)
    scale = f"; the images are at {magnification_name(group.magnification)} or less" if images.found else ""
    return (
        "By true class, the tissue samples that were given to another class with the highest probability"
        + f" (of {seeds} seeds, the mean decides)" * (seeds > 1)
        + f"{scale}. Look here for wrong labels, for what is no tissue, and for what the network confuses."
        + f" {images.why_none}." * bool(images.why_none)
    )
