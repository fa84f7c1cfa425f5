"""A build on a Ray cluster of three machines, all of them on this one: run as a program, with a Ray of its own.

One machine is taken away while it writes a shard, and another one joins. What happened where is left in a log: a line
"shard machine" for every task that began. No task goes on before a shard was begun on the machine that joined.
"""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

from fixtures.waiting import PATIENCE_S, wait_until
from slideprep.building.tasks import write as write_shards
from slideprep.building.tasks.job import ShardJob
from slideprep.building.tasks.shard import write_shard
from slideprep.cli.main import main
from slideprep.shards.records import ShardRecord

OBJECT_STORE = 78 * 1024 * 1024
"""The least that Ray takes, rounded up: results are small records."""


def logged_write(job: ShardJob, *, log: Path) -> ShardRecord:
    """Note where a shard is begun, wait until all machines have taken part, and write it."""
    import ray

    with log.open("a") as file:
        file.write(f"{job.shard.name} {ray.get_runtime_context().get_node_id()}\n")
    wait_until(_gate(log).exists, "a shard begun by every machine", every_s=0.05)
    return write_shard(job)


def _gate(log: Path) -> Path:
    return log.with_name("gate")


def begun(log: Path) -> list[tuple[str, str]]:
    """(shard, machine) of every task that began so far."""
    lines = log.read_text().splitlines() if log.exists() else []
    return [(name, machine) for name, machine in (line.split() for line in lines)]


def _wait_for_machine(node: Any, log: Path) -> None:
    wait_until(
        lambda: any(machine == node.node_id for _, machine in begun(log)), "a shard begun there", every_s=0.05
    )


def change_machines(cluster: Any, leaving: Any, log: Path) -> None:
    """Take ``leaving`` away once it has begun a shard, then let another machine join."""
    _wait_for_machine(leaving, log)
    cluster.remove_node(leaving, allow_graceful=False)
    print("lost", leaving.node_id, flush=True)
    joining = cluster.add_node(num_cpus=1, object_store_memory=OBJECT_STORE)
    print("joined", joining.node_id, flush=True)
    _wait_for_machine(joining, log)
    _gate(log).touch()


def build(log: Path, arguments: list[str]) -> None:
    """The command, with tasks that wait."""
    with patch.object(write_shards, "write_shard", partial(logged_write, log=log)):
        main(arguments)


def run(log: Path, arguments: list[str]) -> int:
    """Start the cluster, run the command in a process of its own, and return its exit code."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 1, "object_store_memory": OBJECT_STORE, "include_dashboard": False},
    )
    nodes = [cluster.add_node(wait=False, num_cpus=1, object_store_memory=OBJECT_STORE) for _ in range(2)]
    cluster.wait_for_nodes()
    program = [sys.executable, "-m", "e2e.cluster_build", "build", log, *arguments]
    command = subprocess.Popen([*program, "--ray-address", cluster.address])
    try:
        change_machines(cluster, nodes[-1], log)
        return command.wait(PATIENCE_S)
    finally:
        command.kill()
        cluster.shutdown()


if __name__ == "__main__":
    role, log, *arguments = sys.argv[1:]
    if role == "build":
        build(Path(log), arguments)
    else:
        sys.exit(run(Path(log), arguments))
