"""A Ray of our own: what another user of the machine can reach of it, and what is said where it does not start."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fixtures.waiting import PATIENCE_S
from slideprep.errors import ClusterError
from slideprep.workers import own_ray as module
from slideprep.workers.own_ray import own_ray

LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}
"""127.0.0.1, the same as an IPv6 address, and ::1, as Linux lists them."""
NOBODY = 65534

SECOND_USER = f"""
import os, sys
import ray._raylet
from slideprep.errors import SlideprepError
from slideprep.workers.executor import executor

address, folder = sys.argv[1:]

def joined():
    try:
        with executor(workers=None, ray_address=address):
            return "joined"
    except SlideprepError as error:
        return str(error)

def wrote():
    try:
        client = ray._raylet.GcsClient(address=address)
        client.internal_kv_put(b"mine", b"1", True, None)
        return str(client.internal_kv_keys(b"", None, timeout=5))
    except Exception as error:
        return type(error).__name__

found = {{"joined": joined()}}
if os.geteuid() == 0:
    os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})
    try:
        found["listed"] = os.listdir(folder)
    except OSError as error:
        found["listed"] = type(error).__name__
found["without a token"] = wrote()
os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN="b" * 64)
ray._raylet.Config.initialize("")
ray._raylet.AuthenticationTokenLoader.instance().reset_cache()
found["with another token"] = wrote()
print(found)
"""


def processes() -> dict[int, str]:
    """Ids of the processes of the Ray that runs below this one, and their environment."""
    found = {}
    below = {os.getpid()}
    for path in sorted(Path("/proc").glob("[0-9]*"), key=lambda p: int(p.name)):
        with suppress(OSError):
            if int((path / "stat").read_text().rpartition(")")[2].split()[1]) in below:
                below.add(int(path.name))
                settings = (path / "environ").read_bytes().decode(errors="replace")
                if "RAY_AUTH_TOKEN=" in settings:
                    found[int(path.name)] = settings
    return found


def listening(pids: Iterator[int]) -> set[str]:
    """Addresses on which processes wait for connections, as Linux lists them."""
    sockets = set()
    for pid in pids:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                sockets.add(str(descriptor.readlink()))
    found = set()
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets:
                found.add(fields[1].partition(":")[0])
    return found


@pytest.fixture(scope="module")
def folder(shared_ray: None) -> Path:
    """The folder of the Ray that runs."""
    import ray

    session = Path(ray.worker._global_node.get_session_dir_path())  # type: ignore[attr-defined]
    return session.parents[1]


@pytest.fixture(scope="module")
def second(folder: Path) -> dict[str, str]:
    """What a process without the token, and as root one of another user, could do with that Ray."""
    import ray

    address = ray.get_runtime_context().gcs_address
    run = subprocess.run(
        [sys.executable, "-c", SECOND_USER, address, str(folder)],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert run.returncode == 0, run.stderr
    found: dict[str, str] = ast.literal_eval(run.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("who", ["without a token", "with another token"])
def test_nobody_reads_or_writes_its_store_without_its_token(second: dict[str, str], who: str) -> None:
    """As root, seen as another user of the machine: neither a key is listed nor one written."""
    assert second[who] == "AuthenticationError"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
def test_its_folder_is_shut_to_others(second: dict[str, str], folder: Path) -> None:
    """Sockets, logs and what does not fit into memory lie there."""
    assert second["listed"] == "PermissionError"
    assert folder.stat().st_mode & 0o777 == 0o700


def test_whoever_joins_without_the_token_is_told_what_to_set(second: dict[str, str]) -> None:
    """The command ends in a sentence, and no trace."""
    assert "the cluster does not take this user's token" in second["joined"]
    assert "set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH" in second["joined"]


@pytest.mark.usefixtures("shared_ray")
def test_it_listens_on_this_machine_alone() -> None:
    """Every port of its processes, and of ours, is on the loopback interface."""
    found = listening(iter([os.getpid(), *processes()]))
    assert found and found <= LOOPBACK, found


def test_the_token_is_in_memory_alone(folder: Path) -> None:
    """Only Ray's own processes have it: not our environment, no command line, no file."""
    environments = processes()
    (token,) = {text.partition("RAY_AUTH_TOKEN=")[2].partition("\0")[0] for text in environments.values()}
    assert len(token) == 64 and "RAY_AUTH_TOKEN" not in os.environ
    for pid in environments:
        assert token.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
    for path in folder.rglob("*"):
        if path.is_file():
            assert token.encode() not in path.read_bytes(), path


# Where it does not start


@pytest.fixture
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the Ray of the other tests its token."""
    monkeypatch.setattr(module, "_forget_settings", lambda: None)


def ray_that_fails(error: Exception) -> Any:
    """In place of the module."""

    def init(**_: Any) -> None:
        raise error

    return SimpleNamespace(init=init)


@contextmanager
def started(ray: Any) -> Iterator[None]:
    """Within what a build does."""
    with own_ray(ray, cores=1, seconds=45):
        yield


@pytest.mark.usefixtures("forgotten")
@pytest.mark.parametrize(
    "error",
    [Exception("The current node timed out during startup. This could happen because"), OSError("No room")],
)
def test_a_start_that_fails_says_what_to_do(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reason, where Ray's logs are, and both remedies; the token is gone from our environment."""
    monkeypatch.setattr(module, "_short_folder", lambda: str(tmp_path))
    with pytest.raises(ClusterError) as raised, started(ray_that_fails(error)):
        pass
    said = str(raised.value)
    (logs,) = tmp_path.iterdir()
    assert str(error).rstrip(".") in said and f"Ray's logs are in {logs}" in said
    assert "--start-seconds more than 45" in said and "--workers 0" in said
    assert not [name for name in os.environ if name.startswith("RAY_AUTH")]


@pytest.mark.usefixtures("forgotten")
def test_an_interruption_while_it_starts_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C is no fault of Ray's: it goes on as it came, and the folder is gone."""
    monkeypatch.setattr(module, "_short_folder", lambda: str(tmp_path))
    interrupted = SimpleNamespace(init=lambda **_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt), started(interrupted):
        pass
    assert not list(tmp_path.iterdir())


def test_a_machine_that_reports_late_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray asks once more and again, until the time is over; then its own words are heard."""
    from ray._private import services

    answers = iter([RuntimeError("not yet"), RuntimeError("not yet"), {"node_id": "1"}])

    def get_node(*_: str) -> Any:
        answer = next(answers, RuntimeError("never"))
        if isinstance(answer, RuntimeError):
            raise answer
        return answer

    monkeypatch.setattr(services, "get_node", get_node)
    monkeypatch.setattr(module, "_POLL_SECONDS", 0.001)
    with module._patience(0.2):
        assert services.get_node("address", "id") == {"node_id": "1"}
        with pytest.raises(RuntimeError, match="never"):
            services.get_node("address", "id")
    assert services.get_node is get_node


@pytest.mark.parametrize(
    ("asked", "taken"), [("/scratch", "/scratch"), ("/scratch/job-1234567890-of-me", "/tmp")]
)
def test_sockets_need_short_names(monkeypatch: pytest.MonkeyPatch, asked: str, taken: str) -> None:
    """A socket's name has at most 107 bytes: a long folder for temporary files is passed over."""
    monkeypatch.setenv("RAY_TMPDIR", asked)
    assert module._short_folder() == taken


def test_a_folder_that_cannot_be_made_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """No temporary folder: said like any start that fails."""
    monkeypatch.setenv("RAY_TMPDIR", "/proc")
    with pytest.raises(ClusterError, match=r"/proc/ray-.*--workers 0"), started(None):
        pass
