"""The way of an image to a GPU and through it: --decode device, --compile, inference mode, layout, one pass of flips.

All of it runs on the CPU, through the same code. Tests of the GPU itself skip without one.
"""

from __future__ import annotations

import io
import shutil
import tarfile
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fixtures.shard_sets import write_set
from fixtures.training_runs import QUICK, kdtrain, log_of, record_of, trained, weights, write_training_set
from kdtrain.augment import Draw, apply
from kdtrain.config.phases import DistillConfig
from kdtrain.data.device_decode import EncodedImage, decode_images, encoded_image
from kdtrain.data.inputs import NO_DRAWING, image_batch
from kdtrain.data.plan import SampleRef
from kdtrain.data.samples import LoadedSample, SampleReader
from kdtrain.data.stream import EvaluationStream, SampleStream
from kdtrain.errors import UsageError
from kdtrain.losses import RESIZES, distillation_loss
from kdtrain.model import placing as compiling
from kdtrain.model.placing import lay_out, lay_out_model
from kdtrain.model.resnet import build_model
from kdtrain.phases import distill
from kdtrain.shards.error import ShardError
from kdtrain.shards.index import read_index
from kdtrain.training.engine.state import TrainingState, optimizer_state_of, restore, weights_of
from kdtrain.training.trained import load_trained

pytest.importorskip("deepspeed", reason="needs DeepSpeed")

CPU = torch.device("cpu")
TAIL = 40
"""Bytes of coded pixels at the end of an image."""
LEVELS = 5
"""Grey levels by which two right JPEG decoders may differ."""
needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, compiling.COMPILERS)), reason="torch.compile needs a C++ compiler on the PATH"
)
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
DEVICES = [CPU, pytest.param(torch.device("cuda"), marks=needs_gpu)]


@pytest.fixture(scope="module")
def jpegs(tmp_path_factory) -> Path:
    """A set with every kind of split, its images JPEG."""
    return write_training_set(tmp_path_factory.mktemp("sets") / "set")


@pytest.fixture(scope="module")
def high(jpegs, tmp_path_factory) -> Path:
    """A finished teacher at 10x."""
    return trained("teacher", jpegs, tmp_path_factory.mktemp("runs") / "teacher")


def student_of(jpegs: Path, high: Path, out: Path, *options: object) -> Path:
    """Distil to 2.5x."""
    given = ("--teacher", high, "--magnification", 2.5, "--train-on", "aux2", *options)
    return trained("distill", jpegs, out, *given)


def samples_of(jpegs: Path, *, decode: str) -> list[LoadedSample]:
    """The training samples at both magnifications."""
    return list(EvaluationStream(read_index(jpegs), "train", [10, 2.5], decode=decode))


def jpeg(side: int = 64, **options: object) -> bytes:
    """Soft colours and grain, encoded."""
    rng = np.random.default_rng(0)
    soft = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).resize((side, side))
    pixels = np.clip(np.asarray(soft) + rng.normal(0, 5, (side, side, 1)), 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=90, **options)
    return file.getvalue()


def encoded(data: bytes, key: str = "a", side: int = 64) -> EncodedImage:
    """Data as it would come from a tar, unchecked."""
    tensor = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    return EncodedImage(
        data_N=tensor, width=side, height=side, path=Path("set/10x/train-000000.tar"), key=key
    )


# Decoding on the device


@pytest.mark.parametrize("device", DEVICES, ids=str)
@pytest.mark.parametrize("subsampling", [0, 2])
def test_the_device_sees_what_the_loader_would(device, subsampling):
    """The same pixels as Pillow's within a few grey levels, where colours are subsampled too; on a CPU exactly."""
    data = jpeg(subsampling=subsampling)
    wanted = torch.from_numpy(np.array(Image.open(io.BytesIO(data)))).permute(2, 0, 1)
    (pixels,) = decode_images([encoded(data)], device)
    assert pixels.device.type == device.type
    difference = (pixels.cpu().int() - wanted.int()).abs()
    assert difference.max() <= (0 if device == CPU else LEVELS)
    assert difference.float().mean() < 1


def test_samples_come_encoded_and_become_the_same_batches(jpegs):
    """Without pixels, with the same sizes, labels and pixel counts; on the device the same numbers."""
    network = load_free_network()
    for plain, coded in zip(samples_of(jpegs, decode="cpu"), samples_of(jpegs, decode="device"), strict=True):
        assert not coded.images
        assert (coded.key, coded.label) == (plain.key, plain.label)
        assert (coded.sizes, coded.pixels) == (plain.sizes, plain.pixels)
        batches = [image_batch([sample], network, NO_DRAWING, CPU) for sample in (plain, coded)]
        assert batches[0].equal(batches[1])


def load_free_network():
    """How a network at 10x is fed."""
    from kdtrain.model.network import Network

    colours = {"mean": (200.0, 150.0, 180.0), "std": (20.0, 20.0, 20.0)}
    return Network(model="resnet10", output_stride=32, classes=("a", "b"), magnification=10, **colours)


def test_encoded_samples_come_through_worker_processes(jpegs):
    """With a loader process, the data are those that this process reads."""
    wanted = samples_of(jpegs, decode="device")
    stream = EvaluationStream(read_index(jpegs), "train", [10, 2.5], decode="device", workers=1)
    try:
        for ours, theirs in zip(stream, wanted, strict=True):
            assert all(ours.encoded[m].data_N.equal(theirs.encoded[m].data_N) for m in (10, 2.5))
    finally:
        stream.close()


def test_a_micro_batch_is_decoded_together(tmp_path):
    """Samples of one size make one batch, the same as decoded by the loader."""
    index = read_index(write_set(tmp_path / "set", {"train": [3]}, cells=[(32, 32)]))
    batches = []
    for decode in ("cpu", "device"):
        stream = SampleStream(index, "train", [10], accumulate=3, micro_batch=3, decode=decode)
        (batch,) = next(stream.epoch(0))
        batches.append(image_batch(batch, load_free_network(), NO_DRAWING, CPU))
    assert batches[0].shape == (3, 3, 128, 128)
    assert batches[0].equal(batches[1])


@pytest.mark.parametrize("phase", ["teacher", "distill"])
def test_a_run_records_who_decoded(jpegs, high, tmp_path, phase):
    """Same losses, validation included, and "decode" in the settings: going on with the other decoder is refused."""
    given = ("--teacher", high, "--magnification", 2.5) if phase == "distill" else ()
    runs = {how: trained(phase, jpegs, tmp_path / how, *given, "--decode", how) for how in ("cpu", "device")}
    assert [record_of(runs[how])["settings"]["decode"] for how in runs] == ["cpu", "device"]
    losses = [[entry["loss"] for entry in log_of(run)] for run in runs.values()]
    assert len(losses[0]) == 3
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    other = kdtrain(phase, "--shards", jpegs, "--out", runs["device"], *QUICK, *given)
    assert other.code == 2
    assert 'settings.decode: "device" there, "cpu" now' in other.said


def test_other_formats_are_refused_before_any_work(tmp_path):
    """A set of PNG is refused from its index, in words that say what to do."""

    def png(index):
        index["image"] = {"format": "png", "quality": None}

    shards = write_set(tmp_path / "set", {"train": [2]}, edit_index=png)
    run = kdtrain("teacher", "--shards", shards, "--out", tmp_path / "run", *QUICK, "--decode", "device")
    assert run.code == 2
    assert "holds png images; use --decode cpu" in run.said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("rest", [b"", bytes(TAIL)], ids=["cut off", "zeros"])
def test_data_without_an_end_are_refused_by_name(tmp_path, rest):
    """The end of an image is missing, or zeros are in its place: F22, with the tar and the key."""
    shards = write_set(tmp_path / "set", {"train": [2]}, edit_members=shortened(rest))
    reader = SampleReader(read_index(shards), "train", [10], decode="device")
    with pytest.raises(ShardError, match=r"train-000000\.tar, 'train-0.*cut off.*F22"):
        reader.load(SampleRef(0, 0))


def shortened(rest: bytes):
    """An edit of a set's members: images lose their end."""

    def edit(path, members):
        return [replace(m, data=m.data[:-TAIL] + rest) if m.name.endswith("jpg") else m for m in members]

    return edit


def test_a_damaged_sample_ends_training_by_name(tmp_path):
    """The command fails with the tar, the sample and the rule, not with a trace."""
    shards = write_set(tmp_path / "set", {"train": [4]}, edit_members=shortened(b""))
    with tarfile.open(shards / "10x" / "train-000000.tar") as tar:
        key = tar.getnames()[0].partition(".")[0]
    run = kdtrain("teacher", "--shards", shards, "--out", tmp_path / "run", *QUICK, "--decode", "device")
    assert run.code == 1
    assert "F22 image-data" in run.said
    assert "train-000000.tar" in run.said
    assert key.partition("-")[0] in run.said


@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_the_damaged_image_of_several_is_named(device):
    """Headers without any pixels after them, as the second of three: F22 for its key alone."""
    data = jpeg()
    headless = data[: data.index(b"\xff\xda")] + b"\xff\xd9"
    batch = [encoded(data, "first"), encoded(headless, "second"), encoded(data, "third")]
    with pytest.raises(ShardError, match=r"'second'.*F22") as caught:
        decode_images(batch, device)
    assert "first" not in str(caught.value)


def test_another_size_than_the_index_states_is_refused():
    """Data that decode to 64 x 64 px where 32 x 32 were announced: F22."""
    with pytest.raises(ShardError, match=r"decodes to \(3, 64, 64\), not \(3, 32, 32\).*F22"):
        decode_images([encoded(jpeg(), side=32)], CPU)


def test_colours_must_not_be_in_doubt():
    """A JPEG with an Adobe marker in place of JFIF may hold RGB: refused, with the option that helps."""
    data = jpeg(keep_rgb=True)
    assert b"Adobe" in data
    with pytest.raises(UsageError, match=r"'a'.*without a JFIF header.*--decode cpu"):
        encoded_image(data, size=(64, 64), path=Path("t.tar"), key="a")


# The teacher in inference mode


@pytest.mark.parametrize("resize", RESIZES)
def test_inference_mode_leaves_the_loss_as_it_is(jpegs, high, resize):
    """Eq. 1 computed from a teacher under no_grad, and its gradient: bit for bit, for every resize."""
    index, sample = read_index(jpegs), samples_of(jpegs, decode="cpu")[0]
    given = {"shards": jpegs, "out": "o", "teacher": high, "magnification": 2.5, "resize": resize}
    config = DistillConfig(**given)
    taught = load_trained(high, what="--teacher")
    network = distill.student_network(config, index, taught.network)
    phase = distill.Distillation(config, taught, network)
    gradients = []
    for by_hand in (False, True):
        model = network.build(seed=1)
        if by_hand:
            with torch.no_grad():
                target = taught.model(image_batch([sample], taught.network, NO_DRAWING, CPU))
            output = model(image_batch([sample], network, NO_DRAWING, CPU))
            total = distillation_loss(
                teacher_map_BCHW=target.feature_map_BCHW,
                teacher_logits_BK=target.logits_BK,
                student_map_BCHW=output.feature_map_BCHW,
                student_logits_BK=output.logits_BK,
                resize=resize,
            ).total
        else:
            total = phase.loss_of(model, [sample], NO_DRAWING).total
        total.backward()
        gradients.append([p.grad for p in model.parameters() if p.grad is not None])
    assert gradients[0]
    assert all(a.equal(b) for a, b in zip(*gradients, strict=True))


# Flips and turns


def test_one_pass_turns_as_flips_and_quarter_turns_do():
    """All sixteen combinations move every pixel where two flips and torch.rot90 after them move it."""
    image = torch.arange(3 * 4 * 6, dtype=torch.float32).view(3, 4, 6) / 100
    for horizontal, vertical, turns in product((False, True), (False, True), range(4)):
        wanted = image.flip(-1) if horizontal else image
        wanted = wanted.flip(-2) if vertical else wanted
        wanted = torch.rot90(wanted, turns, (-2, -1))
        drawn = Draw(horizontal_flip=horizontal, vertical_flip=vertical, quarter_turns=turns)
        assert apply(image, drawn).equal(wanted), drawn


# Layout


def test_a_cpu_keeps_the_layout():
    """Batch and weights lie there as they did; with them the last digits of every loss stay."""
    batch = torch.zeros(1, 3, 8, 8)
    model = build_model("resnet10", n_classes=2, seed=0)
    assert lay_out(batch) is batch
    assert lay_out_model(model, CPU, zero_stage=0) is model
    assert model.layer1[0].conv1.weight.is_contiguous()


def updated(model, optimizer, steps: int) -> None:
    """Take steps on one image."""
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    for _ in range(steps):
        optimizer.zero_grad()
        model(image).logits_BK[0, 0].backward()
        optimizer.step()


def test_a_state_goes_on_in_another_layout(tmp_path):
    """Saved and restored between two steps, weights and moments that lie channels last end as those never stopped."""

    def fresh():
        model = build_model("resnet10", n_classes=2, seed=0).to(memory_format=torch.channels_last)
        return model, torch.optim.Adam(model.parameters(), lr=1e-2, fused=True)

    model, optimizer = fresh()
    updated(model, optimizer, 2)
    state = TrainingState(weights=weights_of(model), optimizer=optimizer_state_of(model, optimizer), step=2)
    assert all(tensor.is_contiguous() for tensor in (*state.weights.values(), *state.optimizer.values()))
    resumed, its_optimizer = fresh()
    restore(resumed, its_optimizer, state)
    for pair in ((model, optimizer), (resumed, its_optimizer)):
        updated(*pair, 1)
    assert not resumed.layer1[0].conv1.weight.is_contiguous()
    theirs = dict(resumed.named_parameters())
    assert all(parameter.equal(theirs[name]) for name, parameter in model.named_parameters())


# torch.compile


@pytest.fixture
def never_gives_up():
    """Fail where PyTorch would silently compute without compiling, because it has compiled too often."""
    with torch._dynamo.config.patch(fail_on_recompile_limit_hit=True):
        yield


@pytest.mark.slow
@pytest.mark.usefixtures("never_gives_up")
def test_compiled_networks_give_the_same_losses(tmp_path, monkeypatch):
    """Distillation over images of two sizes: the same losses and names of weights, and the record says it."""
    # The same graphs, run operation by operation: building kernels for all of them takes minutes.
    monkeypatch.setattr(compiling, "BACKEND", "aot_eager")
    monkeypatch.setattr(shutil, "which", lambda name: name)
    shards = write_set(tmp_path / "set", {"train": [4]}, cells=[(32, 40), (36, 48)])
    high = trained("teacher", shards, tmp_path / "teacher")
    given = ("--teacher", high, "--magnification", 2.5, "--validate-on", "none")
    plain = trained("distill", shards, tmp_path / "plain", *given)
    fast = trained("distill", shards, tmp_path / "compiled", *given, "--compile")
    losses = [[entry["loss"] for entry in log_of(run)] for run in (plain, fast)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert weights(plain).keys() == weights(fast).keys()
    assert record_of(plain)["settings"] == record_of(fast)["settings"]
    assert record_of(fast)["other_settings"]["compile"] is True


@needs_compiler
@pytest.mark.slow
@pytest.mark.usefixtures("never_gives_up")
def test_compiled_kernels_compute_the_same():
    """Feature maps and logits out of built kernels are PyTorch's within 1e-4 of their largest, at two sizes."""
    plain, fast = (build_model("resnet10", n_classes=2, seed=0).eval() for _ in range(2))
    compiling.compile_network(fast)
    for height, width in ((64, 96), (96, 128)):
        image = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            for ours, theirs in zip(plain(image), fast(image), strict=True):
                assert (ours - theirs).abs().max() <= 1e-4 * ours.abs().max()


def test_without_a_compiler_it_is_refused(jpegs, tmp_path, monkeypatch):
    """Exit code 2 before any work, not a trace at the first step."""
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.delenv("CXX", raising=False)
    run = kdtrain("teacher", "--shards", jpegs, "--out", tmp_path / "run", *QUICK, "--compile")
    assert run.code == 2
    assert "--compile needs a C++ compiler" in run.said
    assert not (tmp_path / "run").exists()


# On a GPU


@needs_gpu
@pytest.mark.parametrize("options", [(), ("--decode", "device"), ("--compile",)], ids=str)
def test_a_gpu_gives_the_losses_of_a_cpu(jpegs, high, tmp_path, options):
    """Distillation with channels-last weights, and with either option: losses within 2 % of the CPU's."""
    losses = []
    for device, more in (("cpu", ()), ("cuda", options)):
        run = student_of(jpegs, high, tmp_path / device, "--device", device, *more)
        losses.append([entry["loss"] for entry in log_of(run)])
    assert losses[0] == pytest.approx(losses[1], rel=0.02)
