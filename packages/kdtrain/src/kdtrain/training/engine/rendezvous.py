"""How the processes of a run find each other: a word within seconds about who is missing, and an end of the waiting.

In: an address, and which of how many this process is. Out: the store through which torch.distributed joins them, once
all are there. PyTorch's own way is silent for as long as it waits, and deaf to Ctrl-C.
"""

from __future__ import annotations

import math
import socket
import sys
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import torch.distributed

from kdtrain.errors import TrainingError, UsageError

MINUTES_VARIABLE = "KDTRAIN_JOIN_MINUTES"
"""How long to wait for the other processes."""
_DEFAULT_MINUTES = 10.0
_FIRST_WORD_SECONDS = 3.0
_NEXT_WORD_SECONDS = 60.0
_POLL_SECONDS = 0.2
_CONNECT_SECONDS = 5.0


def _print(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def meet(
    address: str,
    rank: int,
    world_size: int,
    environ: Mapping[str, str],
    say: Callable[[str], None] = _print,
) -> Any:
    """Wait for all processes at an address.

    Args:
        address: HOST:PORT; rank 0 listens there, or torchrun's own agent does.
        rank: This process.
        world_size: All of them.
        environ: Tells of torchrun's agent, and of the time limit.
        say: Takes a sentence for the user.

    Returns:
        A torch.distributed.Store that all are connected to.

    Raises:
        TrainingError: They do not come in time, or rank 0 has left.
        UsageError: The port is taken, or the time limit is no number.
    """
    wait = _Wait(minutes_of(environ), say)
    key = f"kdtrain/{environ.get('TORCHELASTIC_RESTART_COUNT', '0')}"
    is_master = rank == 0 and environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
    store = _store(address, world_size, wait, is_master=is_master)
    try:
        store.set(f"{key}/{rank}", "here")
        if rank == 0:
            while missing := [r for r in range(world_size) if not store.check([f"{key}/{r}"])]:
                more = f"{len(missing)} more process{'es' if len(missing) > 1 else ''}"
                wait.once_more(f"{more} at {address} ({_named(missing)} of {world_size})")
            store.set(key, "all")
        while not store.check([key]):
            wait.once_more(f"the other processes at {address}", quiet=True)
    except torch.distributed.DistError as error:
        raise TrainingError(
            f"rank 0 at {address} ended before all {world_size} processes had come; its output says why"
        ) from error
    return store


def minutes_of(environ: Mapping[str, str]) -> float:
    """The time limit.

    Raises:
        UsageError: It is no number above 0.
    """
    text = environ.get(MINUTES_VARIABLE) or str(_DEFAULT_MINUTES)
    try:
        minutes = float(text)
    except ValueError:
        minutes = math.nan
    if not 0 < minutes < math.inf:
        raise UsageError(f"{MINUTES_VARIABLE} is {text!r}; give a number of minutes above 0, or leave it out")
    return minutes


def _named(ranks: list[int]) -> str:
    few = ", ".join(map(str, ranks[:5])) + (", ..." if len(ranks) > 5 else "")
    return f"rank{'s' if len(ranks) > 1 else ''} {few}"


class _Wait:
    """Sleeps a moment at a time, tells what for after a few seconds, and ends."""

    def __init__(self, minutes: float, say: Callable[[str], None]) -> None:
        self._minutes, self._say = minutes, say
        self._began = time.monotonic()
        self._next_word = self._began + _FIRST_WORD_SECONDS
        self._last = ""

    def once_more(self, what: str, *, quiet: bool = False, reason: str = "") -> None:
        """Wait for a moment.

        Args:
            what: For what.
            quiet: Whether another process tells.
            reason: What the last attempt came to.

        Raises:
            TrainingError: It has been long enough.
        """
        now = time.monotonic()
        why = f": {reason}" if reason else ""
        if now >= self._began + 60 * self._minutes:
            raise TrainingError(
                f"waited for {what} for {self._minutes:g} min in vain{why}; start all processes, or unset the "
                f"launcher's variables for a single one. {MINUTES_VARIABLE} sets how long to wait"
            )
        if not quiet and (now >= self._next_word or (self._last and self._last != what)):
            limit = f"for at most {self._minutes:g} min ({MINUTES_VARIABLE})"
            self._say(f"waiting for {what}{why}, {limit}; Ctrl-C ends it")
            self._last, self._next_word = what, now + _NEXT_WORD_SECONDS
        time.sleep(_POLL_SECONDS)


def _store(address: str, world_size: int, wait: _Wait, *, is_master: bool) -> Any:
    host, _, port = address.rpartition(":")
    place = (host.strip("[]"), int(port))
    if is_master:
        _wait_for_name(place, wait)
    else:
        _wait_for_port(place, wait)
    try:
        return torch.distributed.TCPStore(  # type: ignore[attr-defined]
            *place,
            world_size,
            is_master=is_master,
            timeout=timedelta(seconds=_CONNECT_SECONDS),
            wait_for_workers=False,
            multi_tenant=True,
        )
    except torch.distributed.DistError as error:
        if is_master and "in use" in str(error):
            raise UsageError(f"port {port} of this machine is taken; set another MASTER_PORT") from error
        whose = "is MASTER_ADDR this machine?" if is_master else "does another program listen there?"
        raise UsageError(f"the processes cannot meet at {address}: {whose}") from error


def _wait_for_name(place: tuple[str, int], wait: _Wait) -> None:
    """In a cluster that is being started, a name may be known only after a while."""
    while True:
        try:
            socket.getaddrinfo(*place)
        except OSError as error:
            wait.once_more(f"the name {place[0]}", reason=str(error.strerror or error))
        else:
            return


def _wait_for_port(place: tuple[str, int], wait: _Wait) -> None:
    """Until somebody listens; by a connection of Python's, which says nothing and hears Ctrl-C."""
    while True:
        try:
            socket.create_connection(place, timeout=_CONNECT_SECONDS).close()
        except OSError as error:
            wait.once_more(f"rank 0 at {place[0]}:{place[1]}", reason=str(error.strerror or error))
        else:
            return
