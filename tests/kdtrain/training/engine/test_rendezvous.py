"""How processes find each other: together, or with a word about who is missing and an end."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from kdtrain.errors import TrainingError, UsageError
from kdtrain.training.engine import rendezvous
from kdtrain.training.engine.rendezvous import meet, minutes_of

AT_ONCE = {"KDTRAIN_JOIN_MINUTES": "0.005"}


@pytest.fixture
def address() -> str:
    """A port of this machine that nobody listens at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


@pytest.fixture
def said(monkeypatch) -> list[str]:
    """What a person reads, from the first moment on."""
    monkeypatch.setattr(rendezvous, "_FIRST_WORD_SECONDS", 0.0)
    return []


def test_all_come_and_share_a_store(address, said):
    """Three processes in any order have one store; who came first has said whom it waited for."""
    with ThreadPoolExecutor(3) as pool:
        stores = list(pool.map(lambda rank: meet(address, rank, 3, {}, said.append), (2, 1, 0)))
        stores[0].set("word", "heard")
        assert [store.get("word") for store in stores] == [b"heard"] * 3
    assert all("for at most 10 min (KDTRAIN_JOIN_MINUTES); Ctrl-C ends it" in sentence for sentence in said)


def test_rank_0_names_who_is_missing_and_gives_up(address, said):
    """At once: how many, where, which. In the end: an error that says what to do."""
    with pytest.raises(TrainingError, match=r"waited for 1 more process .* for 0.005 min in vain; start all"):
        meet(address, 0, 2, AT_ONCE, said.append)
    assert said[0].startswith(f"waiting for 1 more process at {address} (rank 1 of 2), for at most 0.005 min")


def test_of_many_missing_a_few_are_named(address, said):
    """Nine of ten: five by their numbers."""
    with pytest.raises(TrainingError):
        meet(address, 0, 10, AT_ONCE, said.append)
    assert f"9 more processes at {address} (ranks 1, 2, 3, 4, 5, ... of 10)" in said[0]


def test_others_say_that_rank_0_is_not_there(address, said):
    """With the reason that the system gives."""
    with pytest.raises(TrainingError, match=f"rank 0 at {address} .*in vain: Connection refused"):
        meet(address, 1, 2, AT_ONCE, said.append)
    assert said[0].startswith(f"waiting for rank 0 at {address}: Connection refused, for at most")


def test_a_name_that_nobody_knows_is_named(said):
    """MASTER_ADDR that cannot be resolved."""
    with pytest.raises(TrainingError, match=r"the name nowhere.invalid .*in vain"):
        meet("nowhere.invalid:29500", 0, 2, AT_ONCE, said.append)


def test_a_port_that_is_taken_is_named(said):
    """By another program of this machine."""
    with socket.socket() as other:
        other.bind(("", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(
            UsageError, match=f"port {port} of this machine is taken; set another MASTER_PORT"
        ):
            meet(f"127.0.0.1:{port}", 0, 2, AT_ONCE, said.append)


def test_ctrl_c_ends_the_waiting(address, said, monkeypatch):
    """Waiting is Python's own sleep, which it interrupts."""

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(rendezvous.time, "sleep", interrupt)
    with pytest.raises(KeyboardInterrupt):
        meet(address, 0, 2, {}, said.append)


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "soon"])
def test_a_time_limit_that_is_none_is_refused(text):
    """The variable is named with its content."""
    with pytest.raises(
        UsageError, match=f"KDTRAIN_JOIN_MINUTES is '{text}'; give a number of minutes above 0"
    ):
        minutes_of({"KDTRAIN_JOIN_MINUTES": text})
    assert minutes_of({"KDTRAIN_JOIN_MINUTES": ""}) == minutes_of({}) == 10
