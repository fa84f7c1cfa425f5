"""The shape of a network in words: what tables, figures and the names of a sweep's runs call it.

In: settings, or what a run's record says of its network. Out: "s8 w0.5", for an output stride of 8 and half the
channels. The stride is always said; a width of 1 and the standard stem, which are the paper's, are not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


def stride_word(output_stride: object) -> str:
    """In a label, "s8"; what chooses a stride is called by its name, "auto"."""
    return f"s{output_stride}" if _plain(output_stride).isdigit() else _plain(output_stride)


def width_word(width: object) -> str:
    """In a label, "w0.5", and "" for all of the architecture's channels."""
    return "" if _plain(width) == "1" else f"w{_plain(width)}"


def stem_word(stem: object) -> str:
    """In a label, "small stem", and "" for the standard one."""
    return "" if stem == "standard" else f"{_plain(stem)} stem"


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What of a network decides its price on an image, as texts: anyone may have written the record.

    Attributes:
        model: Name of the architecture.
        output_stride: Image pixels per cell of the feature map.
        width: Channels of every stage, relative to the architecture's.
        stem: "standard" or "small".
    """

    model: str
    output_stride: str
    width: str = "1"
    stem: str = "standard"

    @classmethod
    def of(cls, network: Mapping[str, Any]) -> Shape:
        """That of a network's record, which says width and stem only where they are not the usual ones."""
        return cls(
            model=_plain(network.get("model", "")),
            output_stride=_plain(network.get("output_stride", "")),
            width=_plain(network.get("width", 1)),
            stem=_plain(network.get("stem", "standard")),
        )

    @property
    def is_papers(self) -> bool:
        """Whether it is an output stride of 32 at full width, whatever the architecture."""
        return (self.output_stride, self.width, self.stem) == ("32", "1", "standard")

    @property
    def words(self) -> str:
        """In a label: "s8 w0.5 small stem"."""
        said = (stride_word(self.output_stride), width_word(self.width), stem_word(self.stem))
        return " ".join(filter(None, said))


def shape_texts(shapes: Sequence[Shape]) -> tuple[str, ...]:
    """Each in words, with the architecture where they have several."""
    several = len({shape.model for shape in shapes}) > 1
    return tuple(f"{shape.model} {shape.words}" if several else shape.words for shape in shapes)


def _plain(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
