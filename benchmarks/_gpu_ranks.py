"""One run by one or two processes on one card, for ``gpu.py``.

kdtrain gives every process a GPU of its own and joins them by NCCL, which refuses two of them on one card. Here both
get the first card, and gloo joins them: so what several processes do is seen on a machine with one GPU.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
import time
from pathlib import Path
from typing import Any

import torch
from _kdtrain_loop import HIGH, Setting, Stopwatch

PATIENCE_S = 60.0


def train(setting: Setting, *, world_size: int, backend: str) -> dict[str, Any]:
    """A teacher for two epochs.

    Returns:
        What joined the processes, samples per second of the second epoch as the first process saw it, the losses.

    Raises:
        RuntimeError: A process failed, or took longer than a minute.
    """
    out = setting.folder / f"ranks-{world_size}"
    result = out.with_suffix(".json")
    # CUDA does not survive a fork; on a CPU a fork saves importing PyTorch again.
    context = multiprocessing.get_context("spawn" if setting.device.type == "cuda" else "fork")
    port = _free_port()
    processes = [
        context.Process(target=_rank, args=(setting, out, result, rank, world_size, backend, port))
        for rank in range(world_size)
    ]
    for process in processes:
        process.start()
    end = time.monotonic() + PATIENCE_S
    for process in processes:
        process.join(max(0.0, end - time.monotonic()))
        process.kill()
        process.join()
    codes = [process.exitcode for process in processes]
    if any(codes):
        raise RuntimeError(f"the processes ended with the exit codes {codes}")
    found: dict[str, Any] = json.loads(result.read_text())
    return found


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def _rank(
    setting: Setting, out: Path, result: Path, rank: int, world_size: int, backend: str, port: int
) -> None:
    from kdtrain.config.phases import TeacherConfig
    from kdtrain.phases.start import run_phase

    _begin(rank, world_size, backend, port)
    config = TeacherConfig(magnification=HIGH, **setting.training(out, epochs=2))
    watch = Stopwatch()
    run_phase(config, watch)
    joined = torch.distributed.get_backend()
    ones = torch.ones(1, device=setting.device)
    torch.distributed.all_reduce(ones)
    if int(ones) != world_size:
        raise RuntimeError(f"the sum over {world_size} processes is {float(ones)}")
    if rank == 0:
        lines = (json.loads(line) for line in (out / "log.jsonl").read_text().splitlines())
        losses = [line["loss"] for line in lines if line["kind"] == "step"]
        measured = watch.measured(setting.device)
        found = {"joined_by": joined, "samples_per_s": measured.samples_per_s, "losses": losses}
        result.write_text(json.dumps(found, allow_nan=False))


def _begin(rank: int, world_size: int, backend: str, port: int) -> None:
    """This process is one of several on the first card; nothing is left of a group that it was forked from."""
    from deepspeed.comm import comm
    from deepspeed.utils import groups

    torch.set_num_threads(1)
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    comm.cdb = groups._WORLD_GROUP = None
    launch = {"WORLD_SIZE": world_size, "RANK": rank, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in launch.items()}, LOCAL_RANK="0")
    begin = torch.distributed.init_process_group
    torch.distributed.init_process_group = lambda chosen, **more: begin(backend, **more)
