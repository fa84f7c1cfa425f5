"""Runs spread over a cluster: the same processes, each kept by a Ray task. It and ``own_ray`` alone import Ray.

Ray decides where a run goes and gives it its GPU. A run whose machine is lost is started again elsewhere and goes on
from its last checkpoint, so the sweep's folder and the shards must lie on storage that every machine sees under one
path.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from kdtrain.errors import UsageError
from kdtrain.shards.locations import Location
from kdtrain.sweep.jobs import Job
from kdtrain.sweep.recipe import EvaluateRecipe
from kdtrain.sweep.runners.local import Ended, Process, environment, request_of
from kdtrain.sweep.runners.own_ray import START_SECONDS, own_ray, signal_kept

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
    start_seconds: float = START_SECONDS,
) -> Iterator[RayLauncher]:
    """Join a cluster for as long as a sweep takes.

    Args:
        address: Address of its head, "auto" for the one that this machine belongs to, "local" for this machine alone.
        shards: The shard set, absolute.
        out: Folder of the sweep, absolute.
        evaluate: How runs are measured.
        gpus_per_run: None for one where the cluster has GPUs, else none.
        cpus_per_run: None for one, and one for each loader process.
        start_seconds: How long a Ray of this machine may take to start.

    Raises:
        UsageError: Ray is not installed, no cluster answers, or it does not take our token.
        TrainingError: A Ray of this machine does not start.
    """
    try:
        import ray
        import ray.exceptions
    except ImportError:
        raise UsageError('--ray-address needs Ray: pip install "kdtrain[cluster]"') from None
    with ExitStack() as stack:
        if not ray.is_initialized():  # else a caller shares one Ray
            stack.enter_context(
                own_ray(ray, seconds=start_seconds) if address == "local" else _joined(ray, address)
            )
        yield RayLauncher(
            ray,
            shards=shards,
            out=out,
            evaluate=evaluate,
            gpus_per_run=gpus_per_run,
            cpus_per_run=cpus_per_run,
        )


@contextmanager
def _joined(ray: Any, address: str) -> Iterator[None]:
    _check_token(ray)
    try:
        with signal_kept():
            if (
                "://" not in address and ":" in address
            ):  # refuses our token at once: Ray itself tries for minutes
                ray._raylet.GcsClient(address=address)
            ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except ray.exceptions.AuthenticationError as error:
        raise UsageError(
            f"--ray-address {address}: the cluster does not take this user's token ({error.message}); set "
            "RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH to the file with the cluster's token, as where it was started"
        ) from None
    except (ConnectionError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        raise UsageError(
            f"--ray-address {address}: no cluster answers ({_first_line(error)}); start one with 'ray start', or leave "
            "the option out"
        ) from None
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


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


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
            reason = f"lost {RETRIES + 1} times: {_first_line(error)}"
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
