"""Plain functions on many items; what needs Ray is tested end to end."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn

import pytest
from threadpoolctl import threadpool_info

from slideprep.errors import UsageError
from slideprep.workers import executor as pipeline
from slideprep.workers.executor import InProcess, executor, run_on_workers, usable_cores


def _never(*_: object) -> NoReturn:
    raise AssertionError("nothing crashes in this process")


def _threads(_item: int) -> int:
    import numpy as np

    np.ones((4, 4)) @ np.ones((4, 4))
    return max(pool["num_threads"] for pool in threadpool_info())


def test_without_workers_items_run_here_in_order() -> None:
    """Results come in the order of the items, and there is a wait before each."""
    waits: list[None] = []
    with executor(workers=0, ray_address=None) as pool:
        results = list(pool.map(abs, [-3, 2, -1], on_crash=_never, on_wait=lambda: waits.append(None)))
    assert results == [(-3, 3), (2, 2), (-1, 1)]
    assert len(waits) == 3


def test_results_come_one_by_one() -> None:
    """An item is not started before the result of the one before was taken: memory does not grow."""
    started: list[int] = []
    results = InProcess().map(started.append, iter(range(5)), on_crash=_never, on_wait=lambda: None)
    next(results)
    assert started == [0]


def test_an_exception_ends_the_run() -> None:
    """What a function does not handle itself is not swallowed."""
    with pytest.raises(TypeError):
        list(InProcess().map(abs, ["x"], on_crash=_never, on_wait=lambda: None))


def test_an_address_where_nothing_listens_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster that is not there is named in seconds, with what to do, before Ray tries for minutes."""
    monkeypatch.setattr("ray.is_initialized", lambda: False)  # other tests may have started one
    with socket.create_server(("127.0.0.1", 0)) as server:
        free = server.getsockname()[1]
    with (
        pytest.raises(UsageError, match=f"--ray-address 127.0.0.1:{free}: no cluster answers.*ray start"),
        executor(workers=None, ray_address=f"127.0.0.1:{free}"),
    ):
        pass


@pytest.mark.usefixtures("shared_ray")
def test_leaving_ends_the_tasks_that_are_left() -> None:
    """Whoever stops in the middle, by Ctrl-C say, leaves no task behind, and asks nothing of a Ray that is gone."""
    with executor(workers=1, ray_address=None) as pool:
        results = pool.map(abs, [-1, -2, -3], on_crash=_never, on_wait=lambda: None)
        assert next(results) == (-1, 1)
    assert list(results) == []


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.usefixtures("shared_ray")
def test_settings_of_stores_go_along_and_ours_come_back(
    workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker has what was set after Ray was started; the caller's environment is as it was."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    before = dict(os.environ)
    results = run_on_workers(os.getenv, ["AWS_ENDPOINT_URL_S3"], workers=workers, on_crash=_never)
    assert list(results) == [("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")]
    assert dict(os.environ) == before


@pytest.mark.usefixtures("shared_ray")
def test_an_item_that_takes_too_long_is_ended_and_replaced() -> None:
    """A second is enough for none of a minute's sleep."""
    results = run_on_workers(
        time.sleep, [60], workers=1, on_crash=_never, on_timeout=lambda item: item - 60, time_limit_s=1
    )
    assert list(results) == [(0, None)]


def test_libraries_use_one_thread() -> None:
    """Every worker gets one core, so threads of libraries would only get into each other's way."""
    ((_, threads),) = InProcess().map(_threads, [0], on_crash=_never, on_wait=lambda: None)
    assert threads == 1


def test_without_workers_ray_is_not_imported() -> None:
    """--workers 0 works, and starts at once, where Ray cannot be imported at all."""
    program = (
        "import sys; sys.modules['ray'] = None\n"
        "from slideprep.workers.executor import executor\n"
        "with executor(workers=0, ray_address=None) as pool:\n"
        "    print(list(pool.map(abs, [-1], on_crash=None, on_wait=lambda: None)))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (run.stdout.strip(), run.stderr) == ("[(-1, 1)]", "")


@pytest.mark.parametrize(
    ("text", "cores"),
    [("max 100000", None), ("200000 100000", 2), ("50000 100000", 1), ("nonsense", None), (None, None)],
)
def test_a_containers_limit_counts(tmp_path: Path, text: str | None, cores: int | None) -> None:
    """Two cores' worth of time per period are two cores; half a core is one; no limit is none."""
    if text is not None:
        (tmp_path / "cpu.max").write_text(text)
    assert pipeline._cgroup_cores(tmp_path / "cpu.max") == cores


def test_usable_cores_are_at_most_the_machines() -> None:
    """At least one, and no more than there are."""
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)
