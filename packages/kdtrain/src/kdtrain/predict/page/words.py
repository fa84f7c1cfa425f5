"""What the page says in words: sizes, facts about slide and network."""

from __future__ import annotations

from collections.abc import Sequence

from kdtrain.predict.answers.prediction import RegionPrediction, SlidePrediction
from kdtrain.predict.explain.heat_map import Method
from kdtrain.predict.page.tiles import Pyramid, SlidePage

RESEARCH = "For research use only; this is no diagnosis."
OF_MAPS = "The map shows which places moved the network towards its answer, not where disease is."
CAUTION = f"{RESEARCH} {OF_MAPS}"
"""Stands on every page, in print as well."""

CALIBRATED = {
    True: "Confidence is calibrated: it is meant to say how often the network is right.",
    False: "Confidence is not calibrated: it does not say how often the network is right.",
}
"""Whether confidence may be taken at its word."""

CHOICES: dict[Method, str] = {
    "occlusion": "Occlusion (by hiding places)",
    "grad-cam": "Grad-CAM (from inside)",
}
"""What the ways of making a map are called where one is chosen."""


def percent(share: float) -> str:
    """A probability as "74.1 %"; one that rounds to 0 or 100 without being it as "< 0.1 %" or "> 99.9 %"."""
    if 0 < share < 0.0005:
        return "< 0.1 %"
    if 0.9995 <= share < 1:
        return "> 99.9 %"
    return f"{100 * share:.1f} %"


def number(value: float) -> str:
    """A number as people write it: 10, 2.5, 0.25."""
    return f"{value:.4g}"


def grouped(value: int) -> str:
    """A whole number in groups of three: 12 340."""
    return f"{value:,}".replace(",", "\u2009")


def size(width: float, height: float, mpp: float | None) -> str:
    """A region's size in words: in millimetres where the slide's scale is known, else in level-0 pixels."""
    if mpp is None:
        return f"{grouped(round(width))} × {grouped(round(height))} px"
    return f"{width * mpp / 1000:.2f} × {height * mpp / 1000:.2f} mm"


def sentences(parts: Sequence[str]) -> str:
    """As one, since each begins small: with semicolons between and a full stop at the end."""
    return ended("; ".join(part.removesuffix(".") for part in parts))


def ended(sentence: str) -> str:
    """The sentence with a full stop, unless it ends in some way already."""
    return sentence if sentence.endswith((".", "!", "?")) else f"{sentence}."


def facts(page: SlidePage, pyramids: Sequence[Pyramid], whole: Sequence[Pyramid]) -> list[tuple[str, str]]:
    """Terms with what is known of them, for the end of the page.

    Args:
        page: The page.
        pyramids: Pyramids of the regions' images, as they stand in the page.
        whole: The same with nothing left out.
    """
    slide = page.prediction
    found = [
        ("Network", page.bundle),
        ("Magnification", f"{number(slide.magnification)}x is what the network saw"),
        ("Computed by", page.backend),
        *([("Confidence values", page.probabilities)] if page.probabilities else []),
        ("Slide", _slide(slide)),
        ("Read by", slide.reader),
        (
            "Regions",
            f"{len(slide.regions)}; the slide's confidence is their mean, each counting the same",
        ),
    ]
    shown = _shown(page, pyramids, whole)
    return [*found, ("Images", shown)] if shown else found


def _slide(slide: SlidePrediction) -> str:
    parts = [size(slide.width, slide.height, None)]
    if slide.mpp is not None:
        parts.append(f"{size(slide.width, slide.height, slide.mpp)}, {number(slide.mpp)} µm per px")
    if slide.objective is not None:
        parts.append(f"{number(slide.objective)}x objective")
    return "; ".join(parts)


def _shown(page: SlidePage, pyramids: Sequence[Pyramid], whole: Sequence[Pyramid]) -> str:
    """At what magnification regions are shown, and where the page's size did not allow as much as there was."""
    rows = list(zip((view.prediction for view in page.regions), pyramids, whole, strict=True))
    available = [_finest(page, region, all_levels) for region, _, all_levels in rows if all_levels.levels]
    if not available:
        return "the slide's overview only"
    sentences = [f"regions are shown at up to {number(round(max(available), 3))}x"]
    cut = [(region, kept) for region, kept, all_levels in rows if len(kept.levels) < len(all_levels.levels)]
    for best in sorted({_finest(page, region, kept) for region, kept in cut}):
        indices = [region.index for region, kept in cut if _finest(page, region, kept) == best]
        at = f"at up to {number(round(best, 3))}x" if best else "from the overview only"
        sentences.append(f"to keep this page small, {regions_named(indices)} shown {at}")
    return "; ".join(sentences)


def _finest(page: SlidePage, region: RegionPrediction, pyramid: Pyramid) -> float:
    """Magnification of the finest level; 0 where there is none."""
    if not pyramid.levels:
        return 0.0
    per_image_pixel = pyramid.width / region.image_width / pyramid.levels[0].reduction
    return round(page.prediction.magnification * per_image_pixel, 2)


def regions_named(indices: Sequence[int]) -> str:
    """Regions by their numbers: "region 3", "regions 1, 2"; of more than twelve the first."""
    shown = ", ".join(str(index) for index in indices[:12])
    more = f" and {len(indices) - 12} more" if len(indices) > 12 else ""
    return f"region {shown}" if len(indices) == 1 else f"regions {shown}{more}"
