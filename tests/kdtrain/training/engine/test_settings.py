from __future__ import annotations

import pytest

from kdtrain.training.engine.settings import EngineConfigError, EngineSettings, deepspeed_config


def test_config_takes_accumulation_out_of_deepspeeds_hands():
    """DeepSpeed is told of single steps, no accumulation of its own, and no clipping unless asked for."""
    config = deepspeed_config(EngineSettings(zero_stage=1, micro_batch=2), 3)
    assert config == {
        "train_micro_batch_size_per_gpu": 2,
        "gradient_accumulation_steps": 1,
        "train_batch_size": 6,
        "managed_gradient_accumulation": False,
        "gradient_clipping": 0.0,
        "zero_allow_untested_optimizer": True,
        "zero_optimization": {
            "stage": 1,
            "reduce_bucket_size": 25_000_000,
            "allgather_bucket_size": 25_000_000,
        },
    }


@pytest.mark.parametrize(("stage", "told"), [(0, 0.0), (1, 0.5), (2, 0.5)])
def test_clipping_is_deepspeeds_with_zero_only(stage, told):
    """Without ZeRO the engine clips by itself, so DeepSpeed must not clip as well."""
    assert (
        deepspeed_config(EngineSettings(zero_stage=stage, gradient_clipping=0.5), 1)["gradient_clipping"]
        == told
    )


def test_users_json_is_merged_over_ours():
    """A user's key wins over ours and is added beside ours, inside a section too."""
    theirs = {
        "wall_clock_breakdown": True,
        "zero_optimization": {"reduce_bucket_size": 7, "overlap_comm": True},
    }
    config = deepspeed_config(EngineSettings(zero_stage=2, deepspeed=theirs), 1)
    assert config["wall_clock_breakdown"] is True
    assert config["zero_optimization"] == {
        "stage": 2,
        "reduce_bucket_size": 7,
        "allgather_bucket_size": 25_000_000,
        "overlap_comm": True,
    }
    assert theirs == {
        "wall_clock_breakdown": True,
        "zero_optimization": {"reduce_bucket_size": 7, "overlap_comm": True},
    }


def test_agreeing_and_auto_keys_change_nothing():
    """Keys of ours may be repeated with the value that our options give, or "auto", and off sections may stay."""
    theirs = {
        "train_batch_size": 32,
        "gradient_accumulation_steps": 8,
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_clipping": "auto",
        "fp16": {"enabled": False},
        "sequence_parallel_size": 1,
        "zero_optimization": {"stage": 1, "offload_optimizer": {"device": "none"}},
    }
    plain = EngineSettings(zero_stage=1, micro_batch=2)
    given = EngineSettings(zero_stage=1, micro_batch=2, deepspeed=theirs)
    assert deepspeed_config(given, 2) == deepspeed_config(plain, 2)


@pytest.mark.parametrize(
    ("theirs", "message"),
    [
        ({"train_batch_size": 64}, "'train_batch_size' is 64, but 32 follows from --accumulate; change one"),
        ({"train_micro_batch_size_per_gpu": 4}, "is 4, but 1 follows from --micro-batch"),
        (
            {"gradient_accumulation_steps": 32},
            "is 32, but 16 follows from --accumulate over 2 samples at once",
        ),
        ({"managed_gradient_accumulation": True}, "'managed_gradient_accumulation' is True"),
        ({"gradient_clipping": 1.0}, "is 1.0, but 0.0 follows from --gradient-clipping"),
        (
            {"zero_optimization": {"stage": 3}},
            "'zero_optimization.stage' is 3, but 1 follows from --zero-stage",
        ),
        (
            {"zero_optimization": {"compute_grad_norm": False}},
            "'zero_optimization.compute_grad_norm' is False",
        ),
        (
            {"zero_optimization": {"offload_optimizer": {"device": "cpu"}}},
            "'zero_optimization.offload_optimizer'",
        ),
        ({"zero_optimization": 1}, "'zero_optimization' is 1, not a section"),
        ({"optimizer": {"type": "Adam"}}, "'optimizer' cannot be obeyed: use --optimizer"),
        ({"scheduler": {"type": "WarmupLR"}}, "'scheduler' cannot be obeyed: use --schedule"),
        ({"fp16": {"enabled": True}}, "'fp16' cannot be obeyed: .*--precision fp16"),
        ({"fp16": {}}, "'fp16' cannot be obeyed"),
        ({"amp": True}, "'amp' cannot be obeyed"),
    ],
)
def test_contradictions_are_refused_by_name(theirs, message):
    """A key with another value than our options give is refused with the key, both values and the option."""
    with pytest.raises(EngineConfigError, match=message):
        deepspeed_config(EngineSettings(zero_stage=1, deepspeed=theirs), 2)


def test_accumulation_that_ranks_do_not_divide():
    """Ten samples over four ranks are 2.5 steps in DeepSpeed's words: any number of theirs contradicts."""
    with pytest.raises(EngineConfigError, match=r"is 3, but 2\.5 follows"):
        deepspeed_config(EngineSettings(accumulate=10, deepspeed={"gradient_accumulation_steps": 3}), 4)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"precision": "fp64"}, "precision is 'fp64'; it must be one of fp32, bf16, fp16"),
        ({"optimizer": "lamb"}, "optimizer is 'lamb'"),
        ({"device": "tpu"}, "device is 'tpu'"),
        ({"accumulate": 0}, "accumulate is 0; it must be at least 1 sample"),
        ({"micro_batch": 0}, "micro_batch is 0"),
        ({"micro_batch": 33}, "micro_batch is 33; it must be at most accumulate, 32"),
        ({"zero_stage": 3}, "zero_stage is 3; it must be 0, 1 or 2"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"weight_decay": -1.0}, "weight_decay is -1.0"),
        ({"gradient_clipping": float("inf")}, "gradient_clipping is inf"),
        ({"momentum": 1.0}, "momentum is 1.0"),
    ],
)
def test_settings_are_checked_when_made(fields, message):
    """A setting out of its bounds is refused with its name, its value and its bounds."""
    with pytest.raises(EngineConfigError, match=message):
        EngineSettings(**fields)
