"""Which rank this process is, and the process group that joins the ranks.

In: the environment. Out: a Launch, and torch.distributed ready for use. Started by hand, a process is one rank by
itself and needs no address and no port; torchrun, the deepspeed launcher and srun are recognised.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, TypeVar

import torch
import torch.distributed

from kdtrain.errors import UsageError

T = TypeVar("T")

_TIMEOUT = timedelta(hours=1)
"""The other ranks wait this long for one that evaluates or writes; a dead rank is reported by the launcher."""
_FIRST_PORT = 20_000
_N_PORTS = 20_000


@dataclass(frozen=True, kw_only=True)
class Launch:
    """The place of this process among all.

    Attributes:
        rank: 0 to world_size - 1.
        world_size: Number of processes.
        local_rank: Number on this machine, which is the number of its GPU.
        init_method: Address for torch.distributed; None where the process is alone.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    init_method: str | None = None


def launch_from(environ: Mapping[str, str]) -> Launch:
    """Read the variables of torchrun and deepspeed, else those that srun sets, else be alone.

    Args:
        environ: The environment, such as os.environ.

    Raises:
        UsageError: The launcher's variables are there, but not all of them.
    """
    if "RANK" in environ and "WORLD_SIZE" in environ:
        _require(environ, ("LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"), "RANK and WORLD_SIZE")
        return Launch(
            rank=int(environ["RANK"]),
            world_size=int(environ["WORLD_SIZE"]),
            local_rank=int(environ["LOCAL_RANK"]),
            init_method="env://",
        )
    # srun sets SLURM_STEP_*; a batch script that starts a single process by itself has only SLURM_NTASKS, and
    # would wait for ranks that never come.
    if int(environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        _require(environ, ("SLURM_PROCID", "SLURM_LOCALID", "SLURM_JOB_ID"), "SLURM_STEP_NUM_TASKS")
        return Launch(
            rank=int(environ["SLURM_PROCID"]),
            world_size=int(environ["SLURM_STEP_NUM_TASKS"]),
            local_rank=int(environ["SLURM_LOCALID"]),
            init_method=f"tcp://{_slurm_master(environ)}",
        )
    return Launch()


def _require(environ: Mapping[str, str], names: tuple[str, ...], given: str) -> None:
    missing = [name for name in names if name not in environ]
    if missing:
        reason = f"{given} say that several processes were launched, but {', '.join(missing)} is not set"
        raise UsageError(
            f"{reason}; start with torchrun, deepspeed or srun, or unset them for a single process"
        )


def _slurm_master(environ: Mapping[str, str]) -> str:
    nodes = environ.get("SLURM_STEP_NODELIST") or environ.get("SLURM_JOB_NODELIST") or "localhost"
    host = environ.get("MASTER_ADDR") or first_node(nodes)
    # Two jobs on one node must not meet on one port, so the job's number chooses it.
    port = environ.get("MASTER_PORT") or str(_FIRST_PORT + int(environ["SLURM_JOB_ID"]) % _N_PORTS)
    return f"{host}:{port}"


def first_node(nodes: str) -> str:
    """First host of a SLURM node list: ``gpu[03-05,9],login`` is ``gpu03``."""
    first = re.match(r"([^,\[]+)(?:\[(\w+)[^\]]*\]([^,\[]*))?", nodes)
    if first is None:
        raise UsageError(f"the SLURM node list {nodes!r} names no host; set MASTER_ADDR")
    prefix, number, suffix = first.groups(default="")
    return f"{prefix}{number}{suffix}"


def pick_device(wanted: Literal["auto", "cpu", "cuda"], launch: Launch) -> torch.device:
    """The device of this rank.

    Raises:
        UsageError: A GPU was asked for and there is none, or fewer than processes on this machine.
    """
    if wanted == "cpu" or (wanted == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    n_gpus = torch.cuda.device_count()
    if launch.local_rank >= n_gpus:
        given = f"process {launch.local_rank} of this machine needs a GPU of its own, and there are {n_gpus}"
        raise UsageError(f"{given}; start fewer processes, or use --device cpu")
    return torch.device("cuda", launch.local_rank)


def join(launch: Launch, device: torch.device) -> None:
    """Join the process group, unless this process did already."""
    if torch.distributed.is_initialized():
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    # DeepSpeed asks for it, and would otherwise look for MPI.
    os.environ.setdefault("LOCAL_RANK", str(launch.local_rank))
    backend = "nccl" if device.type == "cuda" else "gloo"
    # Alone, the store lies in this process: no port is opened.
    torch.distributed.init_process_group(
        backend,
        init_method=launch.init_method,
        store=torch.distributed.HashStore() if launch.init_method is None else None,  # type: ignore[attr-defined]
        rank=launch.rank,
        world_size=launch.world_size,
        timeout=_TIMEOUT,
    )


def on_first_rank(work: Callable[[], T], *, rank: int, world_size: int) -> T:
    """Do something on rank 0 while the others wait, and give its result to all; every rank must call it.

    Raises:
        Exception: What the work raised, on every rank, so that none is left waiting.
    """
    outcome: list[Any] = [None, None]
    if rank == 0:
        try:
            outcome[0] = work()
        except Exception as error:  # noqa: BLE001 - raised again below, on every rank
            outcome[1] = error
    if world_size > 1:
        torch.distributed.broadcast_object_list(outcome, src=0)
    if outcome[1] is not None:
        raise outcome[1]
    result: T = outcome[0]
    return result
