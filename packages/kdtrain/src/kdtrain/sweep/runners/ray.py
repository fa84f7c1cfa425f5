"""Runs spread over a cluster: the same processes, each kept by a Ray task. The only import of Ray in kdtrain.

Ray decides where a run goes and gives it its GPU. A run whose machine is lost is started again elsewhere and goes on
from its last checkpoint, so the sweep's folder and the shards must lie on storage that every machine sees under one
path.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kdtrain.errors import UsageError
from kdtrain.shards.locations import Location
from kdtrain.sweep.jobs import Job
from kdtrain.sweep.recipe import EvaluateRecipe
from kdtrain.sweep.runners.local import Ended, Process, environment, request_of

RETRIES = 3
"""Times that a run is started again after its machine or its worker was lost."""
_POLL_SECONDS = 0.5


@contextmanager
def ray_launcher(
    *,
    address: str,
    shards: Location,
    out: Path,
    evaluate: EvaluateRecipe,
    gpus_per_run: float | None,
    cpus_per_run: int | None,
) -> Iterator[RayLauncher]:
    """Join a cluster for as long as a sweep takes.

    Args:
        address: Address of its head, "auto" for the one that this machine belongs to, "local" for this machine alone.
        shards: The shard set, absolute.
        out: Folder of the sweep, absolute.
        evaluate: How runs are measured.
        gpus_per_run: None for one where the cluster has GPUs, else none.
        cpus_per_run: None for one, and one for each loader process.

    Raises:
        UsageError: Ray is not installed, or no cluster answers.
    """
    try:
        import ray
    except ImportError:
        raise UsageError('--ray-address needs Ray: pip install "kdtrain[cluster]"') from None
    joined = ray.is_initialized()  # by a caller who shares one Ray
    if not joined:
        _join(ray, address)
    try:
        yield RayLauncher(
            ray,
            shards=shards,
            out=out,
            evaluate=evaluate,
            gpus_per_run=gpus_per_run,
            cpus_per_run=cpus_per_run,
        )
    finally:
        if not joined:
            ray.shutdown()


def _join(ray: Any, address: str) -> None:
    options = {"address": address, "log_to_driver": False, "logging_level": "ERROR"}
    if address == "local":
        options["include_dashboard"] = False
    before = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(**options)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise UsageError(
            f"--ray-address {address}: no cluster answers ({str(error).splitlines()[0]}); start one with 'ray start', "
            "or leave the option out"
        ) from None
    finally:
        # Ray puts its own handler in place, and a sweep stops its runs by its own.
        if before is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


class RayLauncher:
    """Tasks of a cluster; see :class:`kdtrain.sweep.runners.local.Launcher`.

    Args:
        ray: The module, joined to a cluster.
        shards: The shard set, absolute.
        out: Folder of the sweep, absolute.
        evaluate: How runs are measured.
        gpus_per_run: See :func:`ray_launcher`.
        cpus_per_run: Likewise.
    """

    def __init__(
        self,
        ray: Any,
        *,
        shards: Location,
        out: Path,
        evaluate: EvaluateRecipe,
        gpus_per_run: float | None,
        cpus_per_run: int | None,
    ) -> None:
        self._ray = ray
        self._where: dict[str, Any] = {"shards": shards, "out": out, "evaluate": evaluate}
        has_gpus = ray.cluster_resources().get("GPU", 0) > 0
        self._gpus = float(has_gpus) if gpus_per_run is None else gpus_per_run
        self._cpus = cpus_per_run
        self._running: dict[Any, tuple[str, float]] = {}

    def has_room(self) -> bool:
        """Always: what finds no place waits in the cluster."""
        return True

    def start(self, job: Job, *, train: bool) -> None:
        """See :class:`Launcher`."""
        workers = 0 if job.config is None else job.config.workers
        cpus = 1 + workers if self._cpus is None else self._cpus
        gpus = 0.0 if job.config is not None and job.config.device == "cpu" else self._gpus
        self._check_place(job.name, {"CPU": float(cpus), "GPU": gpus})
        request = request_of(job, train=train, **self._where)
        task = self._ray.remote(_attend).options(
            num_cpus=cpus, num_gpus=gpus, max_retries=RETRIES, name=job.name
        )
        self._running[task.remote(request, cpus)] = (job.name, time.monotonic())

    def ended(self, timeout_s: float) -> list[Ended]:
        """See :class:`Launcher`."""
        ready, _ = self._ray.wait(list(self._running), timeout=timeout_s)
        return [self._end(reference) for reference in ready]

    def stop(self) -> None:
        """See :class:`Launcher`."""
        for reference in self._running:
            self._ray.cancel(reference, force=True)
        self._running.clear()

    def _end(self, reference: Any) -> Ended:
        name, began = self._running.pop(reference)
        try:
            reason = str(self._ray.get(reference))
        except self._ray.exceptions.RayError as error:
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            reason = f"lost {RETRIES + 1} times: {lines[0] if lines else type(error).__name__}"
        return Ended(name=name, reason=reason, seconds=time.monotonic() - began)

    def _check_place(self, name: str, wanted: Mapping[str, float]) -> None:
        machines = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        if not any(all(node.get(k, 0) >= n for k, n in wanted.items()) for node in machines):
            asked = ", ".join(f"{n:g} {k}s" for k, n in wanted.items() if n)
            raise UsageError(
                f"run {name} asks for {asked}, and no machine of the cluster has as many, so it would wait for ever; "
                "give --cpus-per-run and --gpus-per-run"
            )


def _attend(request: dict[str, Any], threads: int) -> str:
    """Keep a run's process on the machine of this task; returns why it failed, or ""."""
    process = Process(request, environment(threads=threads, gpu=None))
    try:
        while process.running:
            time.sleep(_POLL_SECONDS)
    finally:
        if process.running:
            process.stop()
    return process.reason()
