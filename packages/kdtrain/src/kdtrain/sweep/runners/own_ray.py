"""``--ray-address local``: a Ray of this machine that nobody else reaches, which needs no home and is given time.

Ray by itself writes its token to the home folder, readable by whoever may look into it; listens on every interface;
opens its folder to everybody; and gives a busy machine half a minute.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from kdtrain.errors import TrainingError

START_SECONDS = 120.0
"""Ray starts within 5 seconds on an idle machine."""

LONGEST_BASE = 25
"""Bytes. Ray's sockets lie 80 bytes below it, and the name of a socket has at most 107."""

_INNER = "r"
"""Ray opens the folder that it is given to everybody (0777); the one around it stays shut (0700)."""

_POLL_SECONDS = 0.5


@contextmanager
def own_ray(ray: Any, *, seconds: float) -> Iterator[None]:
    """Start Ray for what is done inside, and end it.

    Raises:
        TrainingError: It does not start.
    """
    base = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    with ExitStack() as stack:
        try:
            short = base if len(os.fsencode(base)) <= LONGEST_BASE else "/tmp"
            folder = Path(tempfile.mkdtemp(prefix="ray-", dir=short))
        except OSError as error:
            raise _not_started(error, seconds) from None
        leftovers = stack.enter_context(ExitStack())
        leftovers.callback(shutil.rmtree, folder, ignore_errors=True)
        try:
            with _environment(_settings(seconds)), signal_kept(), _loopback(), _patience(seconds):
                _forget_settings()
                stack.callback(_forget_settings)
                ray.init(
                    address="local",
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


@contextmanager
def signal_kept() -> Iterator[None]:
    """Ray puts its own handler in place, and a sweep stops its runs by its own."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if before is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def _settings(seconds: float) -> dict[str, str]:
    """Of Ray's processes; ours forgets them once they are started."""
    whole = round(seconds)
    return {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_gcs_server_port_wait_time_s": str(max(30, whole)),
        "RAY_raylet_start_wait_time_s": str(max(30, whole)),
        "RAY_worker_register_timeout_seconds": str(max(60, whole)),
        "RAY_agent_register_timeout_ms": str(1000 * max(100, whole)),
    }


@contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _forget_settings() -> None:
    """Have Ray look at the environment again: it remembers the token and the mode of the start before."""
    import ray._raylet

    raylet: Any = ray._raylet
    raylet.Config.initialize("")
    raylet.AuthenticationTokenLoader.instance().reset_cache()


@contextmanager
def _loopback() -> Iterator[None]:
    """Have Ray take 127.0.0.1 for this machine's address, as it does on macOS and Windows."""
    from ray._private import ray_constants

    constants: Any = ray_constants
    before, constants.ENABLE_RAY_CLUSTER = constants.ENABLE_RAY_CLUSTER, False
    try:
        yield
    finally:
        constants.ENABLE_RAY_CLUSTER = before


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


def _not_started(error: Exception, seconds: float, logs: Path | None = None) -> TrainingError:
    reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    where = "" if logs is None else f"; Ray's logs are in {logs}"
    return TrainingError(
        f"--ray-address local: Ray does not start ({reason.rstrip('.')}{where}); give --start-seconds more than "
        f"{seconds:.0f} on a busy machine, or leave --ray-address out: --jobs runs several at a time without Ray"
    )
