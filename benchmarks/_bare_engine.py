"""A bare loop that does the arithmetic of ``kdtrain teacher``, on any device: the measure of kdtrain's engine.

Unlike the authors' loop (``_paper_loop``) it augments on the device, lays images and weights channels last on a GPU,
computes in the same precision and takes the same fused Adam. It reads the loss once a step, as a log does.
"""

from __future__ import annotations

import json
import time

import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own abbreviation
from _bare_tars import Tars
from _kdtrain_loop import Setting
from _paper_loop import EPOCHS, Measured
from torch.utils.data import DataLoader

from kdtrain.augment import AugmentSettings, apply, draw, standardise
from kdtrain.model.placing import lay_out, lay_out_model
from kdtrain.model.resnet import build_model


def run_bare(setting: Setting, magnification: float) -> Measured:
    """Train for EPOCHS epochs, and measure the last."""
    statistics = json.loads((setting.shards / "index.json").read_text())["statistics"][f"{magnification:g}x"]
    on_gpu = setting.device.type == "cuda"
    loader = DataLoader(
        Tars(setting.shards, magnification),
        batch_size=None,
        shuffle=True,
        num_workers=setting.workers,
        persistent_workers=setting.workers > 0,
        pin_memory=on_gpu,
    )
    model = lay_out_model(build_model("resnet10", n_classes=2, seed=0), setting.device, zero_stage=0).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-4, fused=True)
    autocast = torch.autocast(
        setting.device.type, dtype=torch.bfloat16, enabled=setting.options.get("precision") == "bf16"
    )
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    for epoch in range(EPOCHS):
        began, waited, loss_sum = time.perf_counter(), 0.0, torch.zeros((), device=setting.device)
        samples = iter(loader)
        for done in range(1, len(loader) + 1):
            asked = time.perf_counter()
            key, image, label = next(samples)
            waited += time.perf_counter() - asked
            drawn = draw(AugmentSettings(), seed=0, epoch=epoch, key=key)
            moved = image.to(setting.device, non_blocking=True)
            augmented = apply(moved, drawn)[None]
            batch = lay_out(standardise(augmented, statistics["mean"], statistics["std"]))
            with autocast:
                _, logits = model(batch)
                loss = F.cross_entropy(logits.float(), torch.tensor([label], device=setting.device))
            (loss / setting.accumulate).backward()
            loss_sum += loss.detach()
            if done % setting.accumulate == 0 or done == len(loader):
                optimizer.step()
                optimizer.zero_grad()
                float(loss_sum)  # waits for the device, as a log does
        took = time.perf_counter() - began
    return Measured(
        samples_per_s=len(loader) / took,
        wait_share=waited / took,
        peak_bytes=torch.cuda.max_memory_allocated() if on_gpu else None,
    )
