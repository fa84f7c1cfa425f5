"""A Ray cluster that runs already: joined under its own token, or refused in words."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from slideprep.errors import UsageError
from slideprep.workers.ray_run import first_line
from slideprep.workers.surroundings import ONE_THREAD, signals_kept

_CONNECT_SECONDS = 10.0


@contextmanager
def joined_cluster(ray: Any, address: str) -> Iterator[None]:
    """Be a part of a cluster for what is done inside.

    Args:
        ray: The module.
        address: Of its head.

    Raises:
        UsageError: No cluster answers there, or it does not take our token.
    """
    _check_token(ray)
    _check_answers(address)
    try:
        with signals_kept():
            _knock(ray, address)
            ray.init(
                address=address,
                log_to_driver=False,
                logging_level="ERROR",
                runtime_env={"env_vars": dict(ONE_THREAD)},
            )
    except ray.exceptions.AuthenticationError as error:
        raise _no_entry(address, error.message) from None
    except (ConnectionError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        raise _no_cluster(address, first_line(error)) from None
    try:
        yield
    finally:
        ray.shutdown()


def _check_token(ray: Any) -> None:
    """Refuse what Ray cannot read a token from: it would abort the program with a dump."""
    mode, path = os.environ.get("RAY_AUTH_MODE", "").lower(), os.environ.get("RAY_AUTH_TOKEN_PATH")
    if mode == "disabled" or os.environ.get("RAY_AUTH_TOKEN"):
        return
    if path:
        try:
            token = Path(path).read_bytes().strip()
        except OSError as error:
            raise UsageError(
                f"RAY_AUTH_TOKEN_PATH {path} cannot be read ({error.strerror}); give the file with the cluster's token"
            ) from None
        if not token:
            raise UsageError(f"RAY_AUTH_TOKEN_PATH {path} is empty; give the file with the cluster's token")
    elif mode == "token":
        loader = ray._raylet.AuthenticationTokenLoader.instance()
        if not loader.has_token(ignore_auth_mode=True):  # in the home folder, either
            raise UsageError(
                "RAY_AUTH_MODE is token, and there is none; set RAY_AUTH_TOKEN_PATH to the file with the cluster's "
                "token"
            )


def _knock(ray: Any, address: str) -> None:
    """Have a cluster refuse our token at once: Ray itself tries for minutes."""
    if "://" not in address and ":" in address:  # "auto" is for Ray to resolve
        ray._raylet.GcsClient(address=address)


def _check_answers(address: str) -> None:
    """Refuse in seconds an address where nothing listens: Ray itself tries for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not (colon and port.isdigit()):
        return  # "auto", "local": Ray's own words
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise _no_cluster(address, str(error)) from None


def _no_cluster(address: str, reason: str) -> UsageError:
    return UsageError(
        f"--ray-address {address}: no cluster answers ({reason}); start one with 'ray start --head', check the "
        "address, or leave the option out to use this machine"
    )


def _no_entry(address: str, reason: str) -> UsageError:
    return UsageError(
        f"--ray-address {address}: the cluster does not take this user's token ({reason}); set RAY_AUTH_MODE=token and "
        "RAY_AUTH_TOKEN_PATH to the file with the cluster's token, as where it was started"
    )
