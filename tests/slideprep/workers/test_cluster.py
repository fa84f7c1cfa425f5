"""A cluster that runs already: what is refused before Ray is asked, and in what words it refuses."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from slideprep.errors import UsageError
from slideprep.workers.cluster import joined_cluster


class _RayError(Exception):
    pass


class _RefusedError(_RayError):
    message = "InvalidAuthToken"


def cluster(error: Exception) -> Any:
    """In place of Ray's module."""

    def init(**_: Any) -> None:
        raise error

    return SimpleNamespace(
        init=init, exceptions=SimpleNamespace(AuthenticationError=_RefusedError, RayError=_RayError)
    )


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            _RefusedError("InvalidAuthToken and long help"),
            r"does not take .*\(InvalidAuthToken\); set RAY_AUTH_MODE=token",
        ),
        (
            ConnectionError("nobody there"),
            r"no cluster answers \(nobody there\); start one with 'ray start --head'",
        ),
    ],
)
def test_a_refusal_says_what_to_do(error: Exception, words: str) -> None:
    """A wrong token is told from no cluster."""
    with (
        pytest.raises(UsageError, match=f"--ray-address auto: .*{words}"),
        joined_cluster(cluster(error), "auto"),
    ):
        pass


@pytest.mark.parametrize(("content", "words"), [(None, "cannot be read"), (b" \n", "is empty")])
def test_a_token_file_that_is_none_is_refused(
    content: bytes | None, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray would abort the whole program with a dump."""
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(path))
    with pytest.raises(UsageError, match=f"RAY_AUTH_TOKEN_PATH {path} {words}"), joined_cluster(None, "auto"):
        pass


def test_no_token_where_one_is_asked_for_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray would abort the whole program with a dump here, too."""
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    nothing = SimpleNamespace(has_token=lambda ignore_auth_mode: not ignore_auth_mode)
    loader = SimpleNamespace(instance=lambda: nothing)
    ray: Any = SimpleNamespace(_raylet=SimpleNamespace(AuthenticationTokenLoader=loader))
    with (
        pytest.raises(UsageError, match="there is none; set RAY_AUTH_TOKEN_PATH"),
        joined_cluster(ray, "a:1"),
    ):
        pass
