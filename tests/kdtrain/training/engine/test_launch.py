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
    assert launch_from({"PATH": "/bin"}) == Launch(rank=0, world_size=1, local_rank=0, address=None)


def test_torchrun_and_deepspeed():
    """The variables that torchrun and the deepspeed launcher set are taken as they are."""
    environ = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "MASTER_ADDR": "a", "MASTER_PORT": "1"}
    assert launch_from(environ) == Launch(rank=3, world_size=4, local_rank=1, address="a:1")


def test_srun():
    """Under srun the ranks meet on the step's first node, at a port that the job's number chooses."""
    assert launch_from(SLURM) == Launch(rank=5, world_size=8, local_rank=1, address="gpu03:20007")


def test_srun_with_an_address_given():
    """MASTER_ADDR and MASTER_PORT overrule what SLURM suggests."""
    given = SLURM | {"MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "5"}
    assert launch_from(given).address == "10.0.0.1:5"


@pytest.mark.parametrize("left", [{"WORLD_SIZE": "8", "MASTER_ADDR": "gpu03"}, {"RANK": "7"}, {"RANK": "x"}])
def test_half_of_another_launcher_does_not_hide_srun(left):
    """A batch script that sets WORLD_SIZE for other programs still starts eight processes by srun."""
    assert launch_from(SLURM | left) == Launch(rank=5, world_size=8, local_rank=1, address="gpu03:20007")


OMPI = {
    "OMPI_COMM_WORLD_RANK": "1",
    "OMPI_COMM_WORLD_SIZE": "2",
    "OMPI_COMM_WORLD_LOCAL_RANK": "1",
    "MASTER_ADDR": "a",
    "MASTER_PORT": "1",
}


def test_mpirun():
    """Open MPI's variables with an address; what srun told mpirun's helpers counts for nothing beside them."""
    assert launch_from(OMPI | SLURM) == Launch(rank=1, world_size=2, local_rank=1, address="a:1")


@pytest.mark.parametrize(
    "environ",
    [
        {
            "SLURM_NTASKS": "8",
            "SLURM_PROCID": "0",
            "SLURM_LOCALID": "0",
            "SLURM_JOB_ID": "1",
        },  # in a batch script
        {"SLURM_NTASKS": "1", "SLURM_JOB_ID": "1"},  # in an salloc shell
        {"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"},  # srun --pty bash
        {"RANK": "0"},
        {"WORLD_SIZE": "1"},
        {"RANK": "0", "WORLD_SIZE": "1"},
        {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "MASTER_ADDR": "a", "MASTER_PORT": "1"},
        {"LOCAL_RANK": "0"},
        {"MASTER_ADDR": "a", "MASTER_PORT": "1"},
        {"RANK": "", "WORLD_SIZE": ""},
        {"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "1", **SLURM},  # mpirun -n 1 below srun
    ],
)
def test_what_speaks_of_one_process_alone_is_one(environ):
    """A batch script, an interactive job and variables left over that name no second process: alone."""
    assert launch_from(environ) == Launch()


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"RANK": "1"}, "RANK=1: so a launcher says .* but WORLD_SIZE is not set; .* unset RANK$"),
        ({"LOCAL_RANK": "2"}, "LOCAL_RANK=2: .* but WORLD_SIZE is not set"),
        ({"WORLD_SIZE": "2"}, "WORLD_SIZE=2: .* but RANK, LOCAL_RANK, MASTER_ADDR, MASTER_PORT are not set"),
        (
            {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "a"},
            "RANK=0, WORLD_SIZE=2: .* LOCAL_RANK, MASTER_PORT are not set; .* unset RANK WORLD_SIZE$",
        ),
        ({"RANK": "1", "WORLD_SIZE": "1"}, "RANK=1, WORLD_SIZE=1: .* they contradict each other"),
        (
            {"RANK": "2", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "MASTER_ADDR": "a", "MASTER_PORT": "1"},
            "RANK=2, WORLD_SIZE=2.* contradict",
        ),
        ({"SLURM_PROCID": "1"}, "SLURM_PROCID=1: .* but SLURM_STEP_NUM_TASKS is not set"),
        ({**SLURM, "SLURM_PROCID": ""}, "SLURM_STEP_NUM_TASKS=8.* but SLURM_PROCID is not set"),
        ({**SLURM, "SLURM_JOB_ID": ""}, "but SLURM_JOB_ID is not set"),
        (
            {"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_LOCAL_RANK": "0"},
            "MASTER_ADDR, MASTER_PORT are not set",
        ),
    ],
)
def test_half_a_launch_is_refused(environ, words):
    """What speaks of several processes and is not all there is named, with what to unset; nothing is awaited."""
    with pytest.raises(UsageError, match=words):
        launch_from(environ)


@pytest.mark.parametrize("name", ["RANK", "WORLD_SIZE", "LOCAL_RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_SIZE"])
@pytest.mark.parametrize("text", ["abc", "-1", "1.0", "1e3", " 1", "9" * 30])
def test_a_variable_that_is_no_number_is_refused(name, text):
    """It is named with its content, and is no trace."""
    with pytest.raises(UsageError, match=f"{name} is '{text}', and launchers set a whole number there"):
        launch_from({name: text})


@pytest.mark.parametrize("port", ["0", "65536", "http"])
def test_a_port_that_is_none_is_refused(port):
    """MASTER_PORT is named."""
    with pytest.raises(UsageError, match="MASTER_PORT"):
        launch_from(
            {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "MASTER_ADDR": "a", "MASTER_PORT": port}
        )


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
