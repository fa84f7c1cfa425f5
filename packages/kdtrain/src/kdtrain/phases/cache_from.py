"""``kdtrain cache-teacher --from``: the teacher opened, whichever it is, said in a sentence, and its cache written.

A teacher is opened before anything is written, so that one that cannot be used leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kdtrain.config.phases import CacheTeacherConfig
from kdtrain.files import parsed_json
from kdtrain.phases.cache_folder import SETTINGS_FILE, WORKSPACE, CacheFolder
from kdtrain.phases.cache_source import cache_source
from kdtrain.phases.cache_teacher import CacheSummary, Start, wanted_splits
from kdtrain.phases.networks import cache_stride
from kdtrain.shards.index import Index, read_index
from kdtrain.sources.feature_check import refuse_feature_options
from kdtrain.sources.features import FeatureSource, are_features, open_features
from kdtrain.sources.opening import open_tiled
from kdtrain.sources.source import Source
from kdtrain.text import plural
from kdtrain.training.monitor import Monitor


def cache_from(config: CacheTeacherConfig, monitor: Monitor) -> CacheSummary:
    """Write the cache of a teacher that is no run, or what is missing of it.

    Raises:
        UsageError: The teacher cannot be used, or does not go with student and set.
        ShardError: The set lacks what is asked for, or a sample is damaged.
        TrainingError: The teacher fails for a sample.
    """
    start = Start.of(config)
    index = read_index(config.shards, config.cache, magnifications=read_of(config))
    wanted_splits(config, index)  # a wrong name is said before a teacher is opened, which may take minutes
    source = opened(config, index, start)
    monitor.say(described(source))
    return cache_source(config, index, source, monitor, start)


def opened(config: CacheTeacherConfig, index: Index, start: Start) -> Source:
    """The teacher of ``--from``.

    Raises:
        UsageError: There is no such teacher, it cannot be used, or its options do not go together.
    """
    stride = cache_stride(config, index, CacheFolder(config.out).begun_stride)
    if are_features(config):
        return open_features(config, index, list(wanted_splits(config, index)), output_stride=stride)
    refuse_feature_options(config)
    return open_tiled(
        config,
        index,
        output_stride=stride,
        device=start.device,
        known_probe=_known_probe(config.out),
    )


def read_of(config: CacheTeacherConfig) -> list[float] | None:
    """Magnifications whose files are read: others may be away. None where that is not known yet."""
    if config.slides is not None or config.teacher_magnification is None:
        return [config.magnification]
    return sorted({config.magnification, config.teacher_magnification})


def described(source: Source) -> str:
    """What a teacher turned out to be, in a sentence: a person sees what was taken for what."""
    entry = source.entry
    tile = entry.settings.get("tile_px")
    size = (
        ""
        if tile is None
        else ", regions whole"
        if tile == "region"
        else f", tiles of {tile[1]} x {tile[0]} px"
    )
    at = "" if entry.magnification is None else f" at {entry.magnification:g}x"
    outputs = [
        f"{role} out of '{entry.settings[key]}'"
        for role, key in (("vectors", "features_output"), ("logits", "logits_output"))
        if entry.settings.get(key)
    ]
    logits = f"logits of {', '.join(source.classes)}" if source.classes else "no logits"
    named = f" ({', '.join(outputs)})" if outputs else ""
    notes = source.notes if isinstance(source, FeatureSource) else ()
    said = f"teacher: {entry.name}{at}{size}; {plural(source.channels, 'channel')}, {logits}{named}"
    return "\n".join((said, *notes))


def _known_probe(out: Path) -> Sequence[float] | None:
    """What a function said when a cache was begun; None where none was, or not of one."""
    try:
        begun = parsed_json((out / WORKSPACE / SETTINGS_FILE).read_bytes())
        probe = begun["settings"]["teacher"]["settings"]["probe"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    numbers = probe if isinstance(probe, list) else []
    return [float(n) for n in numbers if isinstance(n, int | float)] or None
