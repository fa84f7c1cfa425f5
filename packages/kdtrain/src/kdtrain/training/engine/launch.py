"""Which rank this process is, and the process group that joins the ranks.

In: the environment. Out: a Launch, and torch.distributed ready for use. Started by hand, a process is one rank by
itself and needs no address and no port; torchrun, the deepspeed launcher, srun and Open MPI's mpirun are recognised.
Variables that are left over and say of one process alone are passed over; where they speak of several and not all are
there, the process would wait for others that never come, so that is refused.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, NamedTuple, TypeVar

import torch
import torch.distributed

from kdtrain.errors import UsageError
from kdtrain.training.engine.rendezvous import meet

T = TypeVar("T")

_TIMEOUT = timedelta(hours=1)
"""The other ranks wait this long for one that evaluates or writes; a dead rank is reported by the launcher."""
_FIRST_PORT = 20_000
_N_PORTS = 20_000


class _Names(NamedTuple):
    rank: str
    size: str
    local_rank: str


_SLURM = _Names("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID")
_LAUNCHERS = (
    _Names("RANK", "WORLD_SIZE", "LOCAL_RANK"),
    _Names("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"),
    # srun sets SLURM_STEP_*; a batch script that starts a single process by itself has only SLURM_NTASKS, and would
    # wait for ranks that never come. After mpirun, whose processes inherit what srun told its helpers.
    _SLURM,
)


@dataclass(frozen=True, kw_only=True)
class Launch:
    """The place of this process among all.

    Attributes:
        rank: 0 to world_size - 1.
        world_size: Number of processes.
        local_rank: Number on this machine, which is the number of its GPU.
        address: HOST:PORT where the ranks meet; None where the process is alone.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    address: str | None = None


def launch_from(environ: Mapping[str, str]) -> Launch:
    """Read what torchrun and deepspeed set, else mpirun, else srun, else be alone.

    Args:
        environ: The environment, such as os.environ.

    Raises:
        UsageError: A launcher's variables speak of several processes and are not all there, or make no sense.
    """
    faults = []
    for names in _LAUNCHERS:
        try:
            launch = _launch(environ, names)
        except UsageError as error:
            faults.append(error)  # scripts for srun often set WORLD_SIZE, and nothing else of torchrun's
        else:
            if launch is not None:
                return launch
    if faults:
        raise faults[0]
    return Launch()


def _launch(environ: Mapping[str, str], names: _Names) -> Launch | None:
    """What one launcher says; None where it did not start this process."""
    rank, size, local_rank = (_number(environ, name) for name in names)
    given = [name for name in names if environ.get(name)]
    if (size or 1) > 1:
        return _one_of_several(environ, names, given)
    if (rank or 0) > 0 or (local_rank or 0) > 0:
        missing = [names.size] if size is None else []
        raise _incomplete(environ, given, missing)
    return Launch() if size == 1 and rank == 0 else None


def _one_of_several(environ: Mapping[str, str], names: _Names, given: list[str]) -> Launch:
    address: tuple[str, ...] = ("MASTER_ADDR", "MASTER_PORT")
    if names is _SLURM:
        address = () if environ.get("MASTER_PORT") else ("SLURM_JOB_ID",)
    missing = [name for name in (names.rank, names.local_rank, *address) if not environ.get(name)]
    rank, size, local_rank = (_number(environ, name) or 0 for name in names)
    if missing or rank >= size:
        raise _incomplete(environ, given, missing)
    where = (
        _slurm_master(environ) if names is _SLURM else f"{environ['MASTER_ADDR']}:{environ['MASTER_PORT']}"
    )
    if not 0 < (_number({"MASTER_PORT": where.rpartition(":")[2]}, "MASTER_PORT") or 0) < 2**16:
        raise UsageError(f"MASTER_PORT: {where} names no port; give a number from 1 to 65535")
    return Launch(rank=rank, world_size=size, local_rank=local_rank, address=where)


def _number(environ: Mapping[str, str], name: str) -> int | None:
    text = environ.get(name, "")
    if not text:
        return None
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise UsageError(
            f"{name} is {text!r}, and launchers set a whole number there; start with torchrun, deepspeed, srun or "
            f"mpirun, or unset {name} for a single process"
        )
    return int(text)


def _incomplete(environ: Mapping[str, str], given: list[str], missing: list[str]) -> UsageError:
    """What is wrong with a launcher's variables: some are missing, or they contradict each other."""
    shown = ", ".join(f"{name}={environ[name]}" for name in given)
    is_are = "is" if len(missing) == 1 else "are"
    but = f"but {', '.join(missing)} {is_are} not set" if missing else "and they contradict each other"
    return UsageError(
        f"{shown}: so a launcher says that this is one of several processes, {but}; start with torchrun, deepspeed, "
        f"srun or mpirun, or, for a single process, unset {' '.join(given)}"
    )


def _slurm_master(environ: Mapping[str, str]) -> str:
    nodes = environ.get("SLURM_STEP_NODELIST") or environ.get("SLURM_JOB_NODELIST") or "localhost"
    host = environ.get("MASTER_ADDR") or first_node(nodes)
    # Two jobs on one node must not meet on one port, so the job's number chooses it.
    job = _number(environ, "SLURM_JOB_ID") or 0
    port = environ.get("MASTER_PORT") or str(_FIRST_PORT + job % _N_PORTS)
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
        there = "there is 1" if n_gpus == 1 else f"there are {n_gpus}"
        given = f"process {launch.local_rank} of this machine needs a GPU of its own, and {there}"
        raise UsageError(f"{given}; start fewer processes, or use --device cpu")
    return torch.device("cuda", launch.local_rank)


def join(launch: Launch, device: torch.device) -> None:
    """Join the process group, unless this process did already.

    Raises:
        TrainingError: The other processes do not come.
        UsageError: The address cannot be used.
    """
    if torch.distributed.is_initialized():
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    # DeepSpeed asks for it, and would otherwise look for MPI.
    os.environ.setdefault("LOCAL_RANK", str(launch.local_rank))
    backend = "nccl" if device.type == "cuda" else "gloo"
    # Alone, the store lies in this process: no port is opened.
    store = (
        torch.distributed.HashStore()  # type: ignore[attr-defined]
        if launch.address is None
        else meet(launch.address, launch.rank, launch.world_size, os.environ)
    )
    store.set_timeout(_TIMEOUT)
    torch.distributed.init_process_group(
        backend, store=store, rank=launch.rank, world_size=launch.world_size, timeout=_TIMEOUT
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
