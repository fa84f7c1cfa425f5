"""Which stain a run brings its images into: estimated on its training images, or that of the network it learns from.

A teacher's or a baseline's is the middle of those of its training images: of all, or of evenly spaced ones. It stands
in the run's record with the network, so that a run goes on, is measured and exported without looking at an image again.
Whatever learns from a network sees what that one saw, so its stain is never another.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kdtrain.config.phases import PhaseConfig
from kdtrain.data.plan import SampleRef
from kdtrain.data.samples import SampleReader
from kdtrain.errors import UsageError
from kdtrain.model.network import Network
from kdtrain.model.stain.target import STAIN_METHODS, StainMethod, StainTarget, stain_of, target_of
from kdtrain.shards.index import Index, union_of
from kdtrain.text import plural
from kdtrain.training.monitor import Monitor
from kdtrain.training.run_folder import RUN_FILE, read_run

MOST_ESTIMATED = 200
"""Images that are opened: medians of more are the same, and at 10x each costs a second."""


def estimated_stain(
    config: PhaseConfig, index: Index, magnification: float, monitor: Monitor
) -> StainTarget | None:
    """The stain of a teacher or a baseline; None for none.

    Args:
        config: Settings of the run.
        index: The shard set.
        magnification: Of the network.
        monitor: Says what was found.

    Raises:
        UsageError: No training image has a stain that can be estimated.
        ShardError: A training image is damaged.
    """
    method = next((one for one in STAIN_METHODS if one == config.stain_normalization), None)
    if method is None:
        return None
    begun = _begun(config.out, method)
    if begun is not None:
        return begun
    target = _estimated(index, config, magnification, method)
    monitor.say(
        f"--stain-normalization {method}: the stain of {plural(target.images, 'training image')}"
        + (
            f"; {target.left} of {target.images + target.left} looked at {_LEFT[method]}"
            if target.left
            else ""
        )
    )
    return target


_LEFT = {
    "macenko": "have too little tissue or do not show two stains, and such images are left as they are",
    "reinhard": "have too little tissue, and such images are left as they are",
}


def check_same_stain(config: PhaseConfig, theirs: str, *, what: str) -> None:
    """Refuse a student of another stain than the network that it learns from.

    Args:
        config: Settings of the student's run.
        theirs: The method of the other network, "none" for none.
        what: The option that named it, with its folder.

    Raises:
        UsageError: Another was asked for, or the device is to decode images.
    """
    asked = config.stain_normalization
    if asked not in (None, theirs):
        raise UsageError(
            f"--stain-normalization {asked}: {what} has {theirs}, and both must see a slide in one stain; leave it "
            "out, or train that run with it"
        )
    if theirs != "none" and config.decode == "device":
        raise UsageError(
            f"--decode device: {what} has --stain-normalization {theirs}, which the loader's processes do, and they "
            "have no pixels then; use --decode cpu"
        )


def method_of(network: Network) -> str:
    """How settings call a network's stain normalisation."""
    return "none" if network.stain is None else network.stain.method


def _begun(out: Path, method: StainMethod) -> StainTarget | None:
    """That of the run in --out, if one was begun by this method."""
    if not (out / RUN_FILE).is_file():
        return None
    record: Any = read_run(out, what="--out")["network"].get("stain")
    if not isinstance(record, dict) or record.get("method") != method:
        return None
    try:
        return StainTarget.of(record)
    except ValueError as error:
        raise UsageError(
            f"--out {out}: {RUN_FILE} is damaged ({error}); restore it, or give a new --out"
        ) from None


def _estimated(index: Index, config: PhaseConfig, magnification: float, method: StainMethod) -> StainTarget:
    joined, name = union_of(index, config.train_on)
    reader = SampleReader(joined, name, [magnification])
    refs = [SampleRef(i, p) for i, shard in enumerate(reader.shards) for p in range(shard.samples)]
    count = min(MOST_ESTIMATED, len(refs))
    found = []
    try:
        for ref in (refs[i * len(refs) // count] for i in range(count)):
            image_CHW = reader.load(ref).images[magnification]
            found.append(stain_of(image_CHW.permute(1, 2, 0).numpy(), method, magnification))
    finally:
        reader.close()
    stains = [stain for stain in found if stain is not None]
    if not stains:
        raise UsageError(
            f"--stain-normalization {method}: none of {plural(count, 'training image')} of {index.directory} has a "
            "stain that can be estimated: too little tissue, or no two dyes; leave it out"
        )
    return target_of(stains, left=count - len(stains))
