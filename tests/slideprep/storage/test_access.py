"""Settings of the stores on their way to workers: complete, never mixed, never shown."""

from __future__ import annotations

import os

import pytest

from slideprep.storage.access import Access, store_settings

DRIVER = {
    "AWS_ACCESS_KEY_ID": "driver",
    "AWS_SECRET_ACCESS_KEY": "hidden",
    "AWS_ENDPOINT_URL": "http://store",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v2/of-one-container",
    "AWS_WEB_IDENTITY_TOKEN_FILE": "/var/run/token",
    "HOME": "/root",
}


@pytest.fixture
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*store_settings(os.environ), *DRIVER]:
        monkeypatch.delenv(name, raising=False)


def test_only_what_holds_on_every_machine_travels() -> None:
    """Keys and endpoints do; what one container or one disk has does not."""
    assert dict(store_settings(DRIVER)) == {
        name: DRIVER[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL")
    }


@pytest.mark.usefixtures("_no_settings")
def test_a_worker_without_settings_takes_those_of_the_build(monkeypatch: pytest.MonkeyPatch) -> None:
    """After apply, the worker's environment has them."""
    monkeypatch.setattr(os, "environ", {**os.environ})
    Access(environment=store_settings(DRIVER)).apply()
    assert (os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_ENDPOINT_URL"]) == ("driver", "http://store")


@pytest.mark.usefixtures("_no_settings")
def test_a_workers_own_identity_is_never_mixed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with a key of its own keeps it and gets no secret that belongs to another."""
    monkeypatch.setattr(os, "environ", {**os.environ, "AWS_ACCESS_KEY_ID": "own"})
    Access(environment=store_settings(DRIVER)).apply()
    assert os.environ["AWS_ACCESS_KEY_ID"] == "own"
    assert "AWS_SECRET_ACCESS_KEY" not in os.environ
    assert os.environ["AWS_ENDPOINT_URL"] == "http://store"


def test_settings_print_as_their_number() -> None:
    """A job that is printed or logged shows no secret."""
    assert "hidden" not in repr(Access(environment=store_settings(DRIVER)))
    assert "<3 settings>" in repr(Access(environment=store_settings(DRIVER)))
