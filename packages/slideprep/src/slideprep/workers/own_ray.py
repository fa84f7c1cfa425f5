"""A Ray of our own on this machine: nobody else reaches it, it needs no home, and it is given time to start.

- *A token of its own*, made for each start and kept in the memory of its processes. Ray by itself writes one to the
  home folder, for every later start, readable by whoever may look into that folder.
- *The loopback interface.* Ray listens on every interface of a machine whose address it knows.
- *A folder of its own*, which only its user may enter, for sockets and logs; removed at the end. Ray's common one
  (/tmp/ray) lets everybody rename what is in it.
- *Patience.* On a busy machine Ray's processes take longer than the half minute that it gives them.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from slideprep.errors import ClusterError
from slideprep.workers.ray_run import first_line
from slideprep.workers.surroundings import environment, signals_kept

START_SECONDS = 120.0
"""Ray starts within 5 seconds on an idle machine."""

LONGEST_FOLDER = 40
"""Bytes. Ray's sockets lie 65 bytes below it, and the name of a socket has at most 107."""

OBJECT_STORE_BYTES = 200 * 1024 * 1024
"""Results are small records."""

_LOOPBACK = "ENABLE_RAY_CLUSTER"
"""Of ``ray_constants``: False, as on macOS and Windows, has Ray take 127.0.0.1 for this machine's address."""

_INNER = "r"
"""Ray opens the folder that it is given to everybody (0777); the one around it stays shut (0700)."""

_POLL_SECONDS = 0.5


@contextmanager
def own_ray(ray: Any, *, cores: int, seconds: float) -> Iterator[None]:
    """Start Ray for what is done inside, and end it.

    Args:
        ray: The module.
        cores: Tasks at a time.
        seconds: How long it may take to start. Ray itself takes half a minute at least to give up.

    Raises:
        ClusterError: It does not start.
    """
    try:
        folder = Path(tempfile.mkdtemp(prefix="ray-", dir=_short_folder()))
    except OSError as error:
        raise _not_started(error, seconds) from None
    with ExitStack() as stack:
        leftovers = stack.enter_context(ExitStack())
        leftovers.callback(shutil.rmtree, folder, ignore_errors=True)
        try:
            with environment(_settings(seconds)), signals_kept(), _loopback(), _patience(seconds):
                _forget_settings()  # of another Ray in this process
                stack.callback(_forget_settings)
                ray.init(
                    address="local",  # whatever RAY_ADDRESS says: a cluster is joined when it is asked for
                    num_cpus=cores,
                    object_store_memory=OBJECT_STORE_BYTES,
                    include_dashboard=False,
                    log_to_driver=False,
                    logging_level="CRITICAL",  # what fails here is said once, in our words
                    _temp_dir=str(folder / _INNER),
                )
        except Exception as error:  # noqa: BLE001 - Ray raises plain ones, too, and a later one may hide what we change
            leftovers.pop_all()
            raise _not_started(error, seconds, logs=folder) from None
        stack.callback(ray.shutdown)
        yield


def _settings(seconds: float) -> dict[str, str]:
    """Of Ray's processes; ours forgets them once they are started."""
    whole = str(max(30, round(seconds)))
    return {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_gcs_server_port_wait_time_s": whole,
        "RAY_raylet_start_wait_time_s": whole,
        "RAY_worker_register_timeout_seconds": str(max(60, round(seconds))),
        "RAY_agent_register_timeout_ms": str(1000 * max(100, round(seconds))),
    }


def _forget_settings() -> None:
    """Have Ray look at the environment again: it remembers the token and the mode of the start before."""
    import ray._raylet

    raylet: Any = ray._raylet
    raylet.Config.initialize("")
    raylet.AuthenticationTokenLoader.instance().reset_cache()


@contextmanager
def _loopback() -> Iterator[None]:
    from ray._private import ray_constants

    before = getattr(ray_constants, _LOOPBACK)
    setattr(ray_constants, _LOOPBACK, False)
    try:
        yield
    finally:
        setattr(ray_constants, _LOOPBACK, before)


@contextmanager
def _patience(seconds: float) -> Iterator[None]:
    """Ray's 30 seconds for a machine to report are no setting; the question is repeated until our time is over."""
    from ray._private import services

    asked: Callable[..., Any] = services.get_node
    deadline = time.monotonic() + seconds

    def get_node(*arguments: Any) -> Any:
        while True:
            try:
                return asked(*arguments)
            except RuntimeError:  # it is not there yet
                if time.monotonic() >= deadline:
                    raise
                time.sleep(_POLL_SECONDS)

    services.get_node = get_node
    try:
        yield
    finally:
        services.get_node = asked


def _short_folder() -> str:
    """Where temporary files belong, or /tmp where that is too long for sockets, as in a batch job's own folder."""
    asked = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    return asked if len(os.fsencode(asked)) + len(f"/ray-12345678/{_INNER}") <= LONGEST_FOLDER else "/tmp"


def _not_started(error: Exception, seconds: float, logs: Path | None = None) -> ClusterError:
    where = "" if logs is None else f"; Ray's logs are in {logs}"
    return ClusterError(
        f"worker processes could not be started ({first_line(error).rstrip('.')}{where}): give --start-seconds more "
        f"than {seconds:.0f} on a busy machine, or --workers 0 to do everything in one process without Ray"
    )
