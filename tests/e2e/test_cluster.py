"""A build on several machines, some of which come and go."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

from e2e.builds import ONE_THREAD, SMALL, build, good_slides, shard_bytes
from e2e.cluster_build import begun
from fixtures.waiting import PATIENCE_S

TESTS = Path(__file__).parent.parent


def test_a_machine_is_lost_and_another_joins(tmp_path: Path) -> None:
    """What a lost machine was writing is written by another, a new machine takes part, and no byte differs."""
    good_slides(tmp_path / "slides", 8)
    log, out = tmp_path / "log", tmp_path / "out"
    arguments = ["build-shards", *SMALL, str(tmp_path / "slides"), "--out", str(out)]
    path = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")]))
    run = subprocess.run(
        [sys.executable, "-m", "e2e.cluster_build", "cluster", log, *arguments],
        env={**os.environ, **ONE_THREAD, "PYTHONPATH": path, "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    said = dict(line.split() for line in run.stdout.splitlines() if line.startswith(("lost ", "joined ")))
    machines = [machine for _, machine in begun(log)]
    assert len(set(machines)) == 4 and said["joined"] in machines, begun(log)
    twice = {shard for shard, count in Counter(shard for shard, _ in begun(log)).items() if count > 1}
    lost = {shard for shard, machine in begun(log) if machine == said["lost"]}
    assert twice and twice <= lost, (twice, lost)
    assert build(tmp_path / "slides", "--out", tmp_path / "alone").code == 0
    assert shard_bytes(out) == shard_bytes(tmp_path / "alone")
