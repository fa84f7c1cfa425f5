"""Phase I: a network trained on labels; at 10x it is the teacher, at a low magnification the baseline.

Cross-entropy on the labelled training split, He initialisation, Adam (the paper, sections 3.2 and 4.4).
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import partial
from typing import Any

import torch.nn.functional as F  # noqa: N812 - PyTorch's own abbreviation
from torch import nn

from kdtrain.config.phases import TeacherConfig
from kdtrain.data.folds.opening import open_set
from kdtrain.data.inputs import Drawing, image_batch, label_batch
from kdtrain.data.sets import check_phase
from kdtrain.evaluation.predict_split import validate_labels
from kdtrain.model.init import InitReport, load_init
from kdtrain.model.network import Network
from kdtrain.phases.begun import as_begun
from kdtrain.phases.networks import check_init, chosen_stride, labelled_network, stride_note
from kdtrain.phases.stain import estimated_stain
from kdtrain.training.engine.engine import BatchLoss
from kdtrain.training.loop import Batch, Phase, Summary, train
from kdtrain.training.monitor import Monitor


def train_teacher(config: TeacherConfig, monitor: Monitor) -> Summary:
    """Train a teacher or a baseline."""
    index = open_set(config)
    check_init(config)
    config = as_begun(config)
    check_phase(config, index, [config.magnification], labelled=True)
    network = labelled_network(config, index)
    network = replace(network, stain=estimated_stain(config, index, network.magnification, monitor))
    note = stride_note(config, index, network.output_stride)
    if note is not None:
        monitor.say(note)
    model = network.build(seed=config.seed)
    provenance = {}
    if config.init is not None:
        report = load_init(model, config.init)
        monitor.say(str(report))
        provenance["init"] = init_record(report)
    return train(
        Phase(
            config=config,
            index=index,
            network=network,
            model=model,
            magnifications=(config.magnification,),
            labelled=True,
            loss_of=partial(label_loss, network),
            parts=(),
            validate=partial(validate_labels, index, network, config.workers, decode=config.decode),
            provenance=provenance,
            stride_chosen=chosen_stride(config, index),
        ),
        monitor,
    )


def init_record(report: InitReport) -> dict[str, Any]:
    """What a run keeps of the weights it began with: the file by its content, and what was made of it."""
    return {
        "sha256": hashlib.sha256(report.path.read_bytes()).hexdigest(),
        "loaded": len(report.loaded),
        "mapped": len(report.mapped),
        "skipped": dict(report.skipped),
    }


def label_loss(network: Network, model: nn.Module, batch: Batch, drawing: Drawing) -> BatchLoss:
    """Cross-entropy with the ground-truth labels, summed over the micro-batch."""
    device = next(model.parameters()).device
    _, logits_BK = model(image_batch(batch, network, drawing, device))
    total = F.cross_entropy(logits_BK.float(), label_batch(batch, device), reduction="sum")
    return BatchLoss(total=total, samples=len(batch))
