from __future__ import annotations

import pytest
import torch

from kdtrain.errors import UsageError
from kdtrain.training.engine.launch import Launch, first_node, launch_from, pick_device

SLURM = {
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1",
    "SLURM_JOB_ID": "40007",
    "SLURM_STEP_NODELIST": "gpu[03-04]",
}


def test_alone_without_a_launcher():
    """A process started by hand is the only rank and needs no address."""
    assert launch_from({"PATH": "/bin"}) == Launch(rank=0, world_size=1, local_rank=0, init_method=None)


def test_torchrun_and_deepspeed():
    """The variables that torchrun and the deepspeed launcher set are taken as they are."""
    environ = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "MASTER_ADDR": "a", "MASTER_PORT": "1"}
    assert launch_from(environ) == Launch(rank=3, world_size=4, local_rank=1, init_method="env://")


def test_srun():
    """Under srun the ranks meet on the step's first node, at a port that the job's number chooses."""
    assert launch_from(SLURM) == Launch(rank=5, world_size=8, local_rank=1, init_method="tcp://gpu03:20007")


def test_srun_with_an_address_given():
    """MASTER_ADDR and MASTER_PORT overrule what SLURM suggests."""
    given = SLURM | {"MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "5"}
    assert launch_from(given).init_method == "tcp://10.0.0.1:5"


def test_batch_script_without_srun_is_alone():
    """A process that a batch script starts without srun does not wait for the job's other tasks."""
    assert launch_from({"SLURM_NTASKS": "8", "SLURM_PROCID": "0", "SLURM_JOB_ID": "1"}) == Launch()


def test_half_a_launch_is_refused():
    """Launcher variables without the rest are named, instead of a hang or a KeyError."""
    with pytest.raises(UsageError, match=r"LOCAL_RANK, MASTER_PORT is not set; start with torchrun"):
        launch_from({"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "a"})
    with pytest.raises(UsageError, match="SLURM_PROCID is not set"):
        launch_from({name: value for name, value in SLURM.items() if name != "SLURM_PROCID"})


@pytest.mark.parametrize(
    ("nodes", "host"),
    [
        ("node7", "node7"),
        ("a1,b2", "a1"),
        ("gpu[03-05,9],login", "gpu03"),
        ("r[2,4]-ib", "r2-ib"),
        ("n-1.site[10-12].org,x", "n-1.site10.org"),
    ],
)
def test_first_node_of_a_list(nodes, host):
    """The first host of SLURM's compressed lists, zeros kept."""
    assert first_node(nodes) == host


def test_node_list_without_a_host_is_refused():
    """A list that names no host is refused with the variable that helps."""
    with pytest.raises(UsageError, match="names no host; set MASTER_ADDR"):
        first_node("[1-2]")


def test_each_process_has_a_gpu_of_its_own(monkeypatch):
    """The local rank is the number of the GPU; more processes than GPUs are refused."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert pick_device("auto", Launch(local_rank=1)) == torch.device("cuda", 1)
    assert pick_device("cpu", Launch(local_rank=1)) == torch.device("cpu")
    with pytest.raises(UsageError, match="process 2 of this machine needs a GPU of its own, and there are 2"):
        pick_device("auto", Launch(local_rank=2))
