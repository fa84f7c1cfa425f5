"""How a teacher that looks at tiles is asked: what the options of ``kdtrain cache-teacher --from`` say of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from kdtrain.config.phases import CacheTeacherConfig, Precision
from kdtrain.sources.pixels import IMAGENET_MEAN, IMAGENET_STD, Rgb


@dataclass(frozen=True, kw_only=True)
class TileSettings:
    """What a network does not say of itself.

    Attributes:
        tile_px: Side of a tile, pixels; 0 for each region as one tile; None where the network is to say.
        overlap_px: Of two tiles.
        mean: Per channel, in parts of the brightest; None for the default.
        std: The same.
        levels: 1, or 255 for networks that take grey levels.
        features_output: Name of the output that holds vectors; None to find it by its shape.
        logits_output: Name of the output that holds logits; None likewise, "none" for no logits.
        extra: Leading tokens without a place; None to find out.
        classes: Classes of the set.
        precision: Of the arithmetic of a network that leaves it open.
    """

    tile_px: int | None
    overlap_px: int
    mean: Rgb | None
    std: Rgb | None
    levels: int
    features_output: str | None
    logits_output: str | None
    extra: int | None
    classes: tuple[str, ...]
    precision: Precision

    @classmethod
    def of(cls, config: CacheTeacherConfig, classes: tuple[str, ...]) -> TileSettings:
        """Out of the options."""
        return cls(
            tile_px=0 if config.tile_px == "region" else _number(config.tile_px),
            overlap_px=config.overlap_px,
            mean=config.tile_mean,
            std=config.tile_std,
            levels=255 if config.tile_range == "0-255" else 1,
            features_output=config.features_output,
            logits_output=config.logits_output,
            extra=config.extra_tokens,
            classes=classes,
            precision=config.precision,
        )

    @property
    def standardised(self) -> tuple[Rgb, Rgb]:
        """Mean and standard deviation, those given or the default."""
        return self.mean or IMAGENET_MEAN, self.std or IMAGENET_STD


def _number(tile_px: str | int | None) -> int | None:
    assert not isinstance(tile_px, str), "the only word for a tile is region"
    return tile_px
