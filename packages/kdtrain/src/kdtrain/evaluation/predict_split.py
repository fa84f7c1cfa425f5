"""A network and a split in, class probabilities of every sample out: for validation and for evaluation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from kdtrain.config.phases import Decode
from kdtrain.data.inputs import NO_DRAWING, image_batch
from kdtrain.data.samples import LoadedSample
from kdtrain.data.stream import EvaluationStream
from kdtrain.errors import NotFiniteError
from kdtrain.evaluation.predictions import Prediction
from kdtrain.model.network import Network
from kdtrain.shards.index import Index
from kdtrain.training.engine.engine import Engine


def predict_sample(
    model: nn.Module, network: Network, sample: LoadedSample, device: torch.device
) -> Prediction:
    """Probabilities of one sample, without augmentation.

    Raises:
        NotFiniteError: The logits are no numbers, of which the first class would be called the highest.
    """
    _, logits_BK = model(image_batch([sample], network, NO_DRAWING, device))
    probabilities = torch.softmax(logits_BK[0].double(), dim=0)
    if not torch.isfinite(logits_BK).all():
        raise NotFiniteError(f"the network's outputs are not finite for {sample.key}")
    assert sample.label is not None
    return Prediction(
        key=sample.key,
        slide=sample.slide,
        patient=sample.patient,
        label=sample.label,
        probabilities=tuple(probabilities.tolist()),
    )


def predict_split(
    model: nn.Module,
    network: Network,
    index: Index,
    split: str,
    *,
    device: torch.device,
    rank: int = 0,
    world_size: int = 1,
    workers: int = 0,
    decode: Decode = "cpu",
    on_sample: Callable[[], None] = lambda: None,
    on_left: Callable[[], None] = lambda: None,
) -> list[Prediction]:
    """This rank's share of a split's predictions; every sample comes once over all ranks.

    Args:
        model: In evaluation mode, on ``device``.
        network: How it is fed.
        index: The shard set.
        split: A labelled split or set.
        device: Where the model is.
        rank: Rank of this process.
        world_size: Number of processes.
        workers: Loader processes.
        decode: Who decodes JPEG.
        on_sample: Called after every sample.
        on_left: Called for a sample whose stain was left as it is, though the network's images are brought into one.

    Raises:
        NotFiniteError: What the network says of a sample is no number.
    """
    stream = EvaluationStream(
        index,
        split,
        [network.magnification],
        decode=decode,
        stain=network.stain,
        rank=rank,
        world_size=world_size,
        workers=workers,
        pin_memory=device.type == "cuda",
    )
    predictions = []
    try:
        with torch.no_grad():
            for sample in stream:
                predictions.append(predict_sample(model, network, sample, device))
                on_sample()
                if sample.stain_left:
                    on_left()
    finally:
        stream.close()
    return predictions


def validate_labels(
    index: Index, network: Network, workers: int, engine: Engine, split: str, *, decode: Decode = "cpu"
) -> dict[str, float]:
    """Cross-entropy, accuracy and balanced accuracy on a labelled split, every sample once over all ranks.

    Raises:
        NotFiniteError: On every rank, where what the network says of a sample is no number.
    """
    own = engine.together(
        lambda: predict_split(
            engine.inference,
            network,
            index,
            split,
            device=engine.device,
            rank=engine.rank,
            world_size=engine.world_size,
            workers=workers,
            decode=decode,
        )
    )
    return quick_metrics(engine.gather(own))


def quick_metrics(predictions: Sequence[Prediction]) -> dict[str, float]:
    """What an epoch is judged by; classes that the split lacks are left out of the balanced accuracy."""
    labels = np.array([p.label for p in predictions])
    predicted = np.array([p.predicted for p in predictions])
    of_truth = np.array([max(p.probabilities[p.label], 1e-300) for p in predictions])
    correct = labels == predicted
    recalls = [correct[labels == label].mean() for label in np.unique(labels)]
    return {
        "loss": float(-np.log(of_truth).mean()),
        "accuracy": float(correct.mean()),
        "balanced_accuracy": float(np.mean(recalls)),
    }


def sizes_of_split(index: Index, split: str, magnification: float) -> list[tuple[int, int]]:
    """(height, width) of every sample, without opening a tar."""
    return [
        (height, width)
        for shard in index.shards_of(split)
        for width, height in index.sizes_of(shard, magnification)
    ]


def run_name(folder: Path) -> str:
    """How tables call a run."""
    return folder.resolve().name
