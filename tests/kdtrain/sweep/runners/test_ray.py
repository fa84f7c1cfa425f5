"""Ray for a sweep: one of this machine that does not start, and a cluster that does not take our token.

A whole sweep on Ray is tests/e2e/test_kdtrain_sweep.py's.
"""

from __future__ import annotations

import os
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from kdtrain.errors import TrainingError, UsageError
from kdtrain.sweep import command
from kdtrain.sweep.plan import Options
from kdtrain.sweep.runners import own_ray
from kdtrain.sweep.runners.ray import ray_launcher


class RayError(Exception):
    """Of the module in Ray's place."""


class AuthenticationError(RayError):
    """Likewise."""

    message = "InvalidAuthToken"


@pytest.fixture
def launch(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Any:
    """A launcher at an address, where Ray's start raises an error."""
    pytest.importorskip("ray")
    monkeypatch.setattr(own_ray, "_forget_settings", lambda: None)  # leave the Ray of other tests its token
    monkeypatch.setattr(own_ray, "LONGEST_BASE", 200)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))

    def launch(error: Exception, address: str) -> None:
        def init(**_: Any) -> None:
            raise error

        exceptions = SimpleNamespace(RayError=RayError, AuthenticationError=AuthenticationError)
        fake = SimpleNamespace(init=init, is_initialized=lambda: False, exceptions=exceptions)
        monkeypatch.setitem(sys.modules, "ray", fake)
        monkeypatch.setitem(sys.modules, "ray.exceptions", exceptions)
        where: Any = {"shards": tmp_path, "out": tmp_path, "evaluate": None}
        with ray_launcher(address=address, gpus_per_run=None, cpus_per_run=None, start_seconds=45, **where):
            pass

    return launch


def test_a_ray_that_does_not_start_is_said_with_the_remedy(launch: Any, tmp_path: Any) -> None:
    """Reason, logs, more time, or no Ray; and its token is gone from our environment."""
    import ray._private.ray_constants
    import ray._private.services  # noqa: F401 - before the module is replaced

    words = r"Ray does not start \(The current node timed out; .*logs are in .*--start-seconds more than 45.*--jobs"
    with pytest.raises(TrainingError, match=words):
        launch(Exception("The current node timed out."), "local")
    assert "RAY_AUTH_TOKEN" not in os.environ
    assert [path.name[:4] for path in tmp_path.iterdir()] == ["ray-"]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            AuthenticationError("long"),
            r"does not take this user's token \(InvalidAuthToken\); set RAY_AUTH_MODE",
        ),
        (RayError("timed out"), r"no cluster answers \(timed out\)"),
        (ConnectionError("nobody there"), r"no cluster answers \(nobody there\)"),
    ],
)
def test_a_cluster_that_refuses_is_told_from_none(launch: Any, error: Exception, words: str) -> None:
    """What to set, or what to start."""
    with pytest.raises(UsageError, match=f"--ray-address auto: .*{words}"):
        launch(error, "auto")


def test_a_token_file_that_cannot_be_read_is_refused(launch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray would abort the whole program with a dump."""
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", "/proc/none")
    with pytest.raises(UsageError, match="RAY_AUTH_TOKEN_PATH /proc/none cannot be read"):
        launch(ConnectionError("never asked"), "auto")


def test_the_time_to_start_reaches_ray(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """What --start-seconds says is what the launcher is given."""
    seen: dict[str, Any] = {}
    monkeypatch.setattr("kdtrain.sweep.runners.ray.ray_launcher", lambda **options: seen.update(options))
    plan: Any = SimpleNamespace(shards=tmp_path, out=tmp_path, recipe=SimpleNamespace(evaluate=None))
    command._launcher(plan, Options(recipe=tmp_path, ray_address="local", start_seconds=7.0))
    assert seen["start_seconds"] == 7.0
