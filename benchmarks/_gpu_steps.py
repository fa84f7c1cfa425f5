"""The steps of ``gpu.py``: each measures one thing and reports every figure as soon as it has it.

    python benchmarks/_gpu_steps.py STEP SIZES WORK RESULT

SIZES is JSON; what is found goes to the file RESULT, which is whole at every moment.
"""

from __future__ import annotations

import gc
import importlib.metadata
import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from _gpu_sizes import Sizes

Found = dict[str, Any]
Report = Callable[[Found], None]
"""Takes all that a step has found so far, JSON-able."""

ROOT = Path(__file__).resolve().parents[1]
HIGH = 10.0
FP32, BF16 = {"precision": "fp32"}, {"precision": "bf16"}
DECODE = {**BF16, "decode": "device"}


def machine(sizes: Sizes, work: Path, report: Report) -> None:
    """The chip, its driver, and the libraries."""
    import torch
    from _common import machine as described

    found: Found = {**described(), "system": platform.platform(), "device": sizes.device}
    found["packages"]["deepspeed"] = importlib.metadata.version("deepspeed")
    found["torch_cuda"] = torch.version.cuda
    report(found)
    if sizes.device == "cuda":
        found["gpu"] = torch.cuda.get_device_name()
        found["gpu_gb"] = torch.cuda.get_device_properties(0).total_memory / 1e9
        found["nccl"] = ".".join(map(str, torch.cuda.nccl.version()))  # type: ignore[no-untyped-call]
        report(found)
        query = ["nvidia-smi", "--query-gpu=driver_version,mig.mode.current", "--format=csv,noheader"]
        found["driver"] = subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip()
        report(found)


def prepare(sizes: Sizes, work: Path, report: Report) -> None:
    """Sets and a slide, which the other steps read."""
    from _common import write_large_slide, write_synthetic_slide
    from _tissue_set import write_tissue_set

    began = time.perf_counter()
    students = sorted(sizes.students, reverse=True)
    sets = work / "sets"
    write_tissue_set(
        sets / "throughput", sizes.samples, sizes.side_px, (HIGH, *students), distinct=sizes.distinct
    )
    small = sizes.engine_samples, sizes.engine_side_px
    write_tissue_set(sets / "engine", *small, (HIGH, 2.5, 1.25), distinct=sizes.distinct)
    for side in sizes.memory_sides_px:
        write_tissue_set(sets / f"memory-{side}", 2, side, (HIGH, 2.5), distinct=1)
    slide, small_slide = work / "slide.svs", work / "source.svs"
    write_synthetic_slide(small_slide, side_px=640 if not sizes.slide_megapixels else 2880)
    if sizes.slide_megapixels:
        write_large_slide(slide, small_slide, megapixels=sizes.slide_megapixels)
    else:
        small_slide.rename(slide)
    report({"seconds": time.perf_counter() - began, "samples": sizes.samples, "side_px": sizes.side_px})


def throughput(
    sizes: Sizes, work: Path, report: Report, *, name: str, options: Found, loops: tuple[str, ...]
) -> None:
    """Samples per second, data wait and peak memory, row by row; a row that fails is told, and the next one comes."""
    from _kdtrain_loop import variants, write_cache

    if options["precision"] == "bf16":
        options = {**options, "micro_batch": sizes.micro_batch}
    setting = _setting(sizes, work / name, "throughput", options)
    rows: list[Found] = []
    found: Found = {"rows": rows, "options": options}
    for variant in variants(setting, sizes.students, cached_epochs=sizes.cached_epochs):
        if variant.loop not in loops:
            continue
        row: Found = {"what": variant.what, "magnification": variant.magnification, "loop": variant.loop}
        try:
            if variant.what == "cached":
                row["cache_views_per_s"] = write_cache(setting, variant.magnification, sizes.views)
            row |= asdict(variant.run(0))
            row["tflops"] = setting.gflops(variant) * row["samples_per_s"] / 1e3
        except Exception as error:  # noqa: BLE001 - told in the table; the other rows do not depend on it
            row["error"] = _told(error)
        rows.append(row)
        report(found)
    _fail_of(rows)


def engine(sizes: Sizes, work: Path, report: Report) -> None:
    """Our loop beside a bare one that does the same arithmetic, in turn: teacher at 10x, fp32 and bf16."""
    from _bare_engine import run_bare
    from _kdtrain_loop import measure_kdtrain

    from kdtrain.config.phases import TeacherConfig
    from kdtrain.phases.start import run_phase

    rows: list[Found] = []
    for precision in ("fp32", "bf16"):
        setting = _setting(
            sizes, work / f"engine-{precision}", "engine", {"precision": precision, "micro_batch": 1}
        )
        for number in range(sizes.engine_rounds):
            ours = measure_kdtrain(
                setting, run_phase, lambda more: TeacherConfig(magnification=HIGH, **more), "run", number
            )
            theirs = run_bare(setting, HIGH)
            rows += [
                {"precision": precision, "round": number, "loop": loop, **asdict(measured)}
                for loop, measured in (("kdtrain", ours), ("bare", theirs))
            ]
            report({"rows": rows, "side_px": sizes.engine_side_px})


def memory(sizes: Sizes, work: Path, report: Report) -> None:
    """Bytes of a training step on one image: what a dry run predicts, and what the device gave."""
    from memory import Mode, predicted_bytes

    rows: list[Found] = []
    for side in sizes.memory_sides_px:
        for recompute in (False, True) if side == max(sizes.memory_sides_px) else (False,):
            mode = Mode(device=sizes.device, precision="fp32", recompute=recompute)
            row: Found = {"step": mode.name, "side_px": side, "predicted_bytes": predicted_bytes(mode, side)}
            try:
                row |= _measured_memory(sizes, work, side, recompute=recompute, fixed=mode.fixed_bytes)
            except Exception as error:  # noqa: BLE001 - such as too little memory: the other sizes are tried
                row["error"] = _told(error)
            rows.append(row)
            report({"rows": rows})
    _fail_of(rows)


def _measured_memory(sizes: Sizes, work: Path, side: int, *, recompute: bool, fixed: int) -> Found:
    """A CPU's figure is this whole process, at its largest since the step began."""
    import torch
    from _kdtrain_loop import Stopwatch

    from kdtrain.config.phases import TeacherConfig
    from kdtrain.phases.start import run_phase

    setting = _setting(sizes, work / f"memory-{side}-{recompute}", f"memory-{side}", {})
    given = {**setting.training(setting.folder / "run", epochs=1), "workers": 0, "accumulate": 1}
    config = TeacherConfig(magnification=HIGH, activation_checkpointing=recompute, **given)
    if sizes.device == "cpu":
        Path("/proc/self/clear_refs").write_text("5")  # so that VmHWM begins anew
        run_phase(config, Stopwatch())
        status = Path("/proc/self/status").read_text()
        peak = re.search(r"VmHWM:\s+(\d+)", status)
        assert peak is not None
        return {"measured_bytes": int(peak[1]) * 1024}
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    run_phase(config, Stopwatch())
    free, total = torch.cuda.mem_get_info()
    context = total - free - torch.cuda.memory_reserved()
    return {"measured_bytes": torch.cuda.max_memory_allocated() + fixed, "context_bytes": context}


def predict(sizes: Sizes, work: Path, report: Report) -> None:
    """A slide by networks at two magnifications, on the device and on the CPU."""
    from _kdtrain_loop import Stopwatch

    from kdtrain.config.phases import TeacherConfig
    from kdtrain.phases.start import run_phase

    _built(work)
    setting = _setting(sizes, work / "predict", "built", {})
    rows: list[Found] = []
    for magnification in sizes.predicted_by:
        run, bundle = (setting.folder / f"{kind}-{magnification:g}" for kind in ("run", "bundle"))
        settings = setting.training(run, epochs=1)
        run_phase(TeacherConfig(magnification=magnification, **settings), Stopwatch())
        _kdtrain("export", run, "--unevaluated", "--out", bundle)
        for row in predictions(bundle, work / "slide.svs", dict.fromkeys(("cpu", sizes.device))):
            rows.append({"magnification": magnification, **row})
            report({"rows": rows, "megapixels": sizes.slide_megapixels})


def predictions(bundle: Path, slide: Path, devices: Iterable[str]) -> Iterator[Found]:
    """Seconds of predicting a slide on each device, and the furthest that a probability is from the first one's."""
    first: list[float] = []
    for device in devices:
        out = bundle.with_name(f"{bundle.name}-by-{device}")
        began = time.perf_counter()
        asked = ("--tissue", "whole", "--outside", "warn", "--workers", "0", "--backend", "pytorch")
        _kdtrain("predict", bundle, slide, "--device", device, *asked, "--out", out)
        took = time.perf_counter() - began
        (found,) = json.loads((out / "predictions.json").read_text())["slides"]
        first = first or found["probabilities"]
        furthest = max(abs(a - b) for a, b in zip(found["probabilities"], first, strict=True))
        yield {"device": device, "seconds": took, "from_cpu": furthest}


def _built(work: Path) -> None:
    """A set of four small slides, built as a person would: a network predicts slides as its own were read."""
    from _common import write_synthetic_slide

    from slideprep.cli.main import main

    rows = ["slide,label,patient,split"]
    for number in range(4):
        name = f"small-{number}.svs"
        write_synthetic_slide(work / name, side_px=640 + 80 * number)
        rows.append(f"{name},{'ab'[number % 2]},p{number},train")
    labels = work / "labels.csv"
    labels.write_text("\n".join(rows) + "\n")
    given = (*sorted(work.glob("small-*.svs")), "--labels", labels, "--out", work / "sets" / "built")
    settings = ("--magnifications", "10,2.5,1.25", "--tissue", "whole", "--workers", 0)
    _command(main, "build-shards", *given, *settings)


def _kdtrain(*arguments: object) -> None:
    from kdtrain.cli.main import main

    _command(main, *arguments)


def _command(main: Any, *arguments: object) -> None:
    """A command in this process.

    Raises:
        RuntimeError: It ended with another code than 0.
    """
    from click.testing import CliRunner

    done = CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)
    if done.exit_code:
        raise RuntimeError(f"{arguments[0]}: {' '.join(done.output.split())}")


def ranks(sizes: Sizes, work: Path, report: Report) -> None:
    """A run by one process, and by two that share the card: backend, samples per second, the same losses."""
    from _gpu_ranks import train

    setting = _setting(sizes, work / "ranks", "engine", {})
    rows: list[Found] = []
    single = "nccl" if sizes.device == "cuda" else "gloo"
    for world_size, backend in ((1, single), (2, "gloo")):
        row: Found = {"processes": world_size, "backend": backend}
        try:
            row |= train(setting, world_size=world_size, backend=backend)
        except Exception as error:  # noqa: BLE001 - told in the table; the other number is tried
            row["error"] = _told(error)
        rows.append(row)
        report({"rows": rows})
    _fail_of(rows)


def tests(sizes: Sizes, work: Path, report: Report) -> None:
    """The suite's tests that need a GPU; what they printed goes to this step's log."""
    results = work / "tests.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={results}"]
    done = subprocess.run([*command, *sizes.tests], cwd=ROOT, check=False)
    text = results.read_text() if results.exists() else ""
    counts = {
        name: int(number) for name, number in re.findall(r'\b(tests|failures|errors|skipped)="(\d+)"', text)
    }
    report({**counts, "exit_code": done.returncode})
    if done.returncode:
        raise RuntimeError(f"pytest ended with exit code {done.returncode}")


def _setting(sizes: Sizes, folder: Path, shards: str, options: Found) -> Any:
    """A folder for runs, with one of the prepared sets in it."""
    import torch
    from _kdtrain_loop import Setting

    from kdtrain.training.engine.launch import Launch, pick_device

    folder.mkdir()
    (folder / "set").symlink_to(work_set(folder.parent, shards))
    torch.set_num_threads(1 if sizes.device == "cpu" else max(1, sizes.workers))
    return Setting(
        folder=folder,
        device=pick_device(sizes.device, Launch()),  # type: ignore[arg-type]
        side_px=sizes.engine_side_px if shards == "engine" else sizes.side_px,
        accumulate=sizes.accumulate,
        workers=sizes.workers,
        options=options,
    )


def work_set(work: Path, name: str) -> Path:
    """A set that ``prepare`` wrote.

    Raises:
        FileNotFoundError: It did not.
    """
    folder = work / "sets" / name
    if not (folder / "index.json").exists():
        raise FileNotFoundError(f"the step 'prepare' left no set '{name}'")
    return folder


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]


def _fail_of(rows: list[Found]) -> None:
    """End with an error where a row has one, now that all are reported.

    Raises:
        RuntimeError: The first of them.
    """
    for row in rows:
        if "error" in row:
            raise RuntimeError(row["error"])


STEPS: dict[str, Callable[[Sizes, Path, Report], None]] = {
    "machine": machine,
    "prepare": prepare,
    "throughput-fp32": partial(throughput, name="fp32", options=FP32, loops=("bare", "kdtrain")),
    "throughput-bf16": partial(throughput, name="bf16", options=BF16, loops=("kdtrain",)),
    "throughput-decode": partial(throughput, name="decode", options=DECODE, loops=("kdtrain",)),
    "engine": engine,
    "memory": memory,
    "predict": predict,
    "ranks": ranks,
    "tests": tests,
}


def write_result(path: Path, found: Found) -> None:
    """Write a step's result, whole or not at all."""
    partial_file = path.with_name(f"{path.name}.partial")
    partial_file.write_text(json.dumps(found, allow_nan=False))
    partial_file.replace(path)


def main() -> None:
    """Do one step; the last line of what is printed says what failed."""
    name, sizes, work, result = sys.argv[1:]
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    given = {k: tuple(v) if isinstance(v, list) else v for k, v in json.loads(sizes).items()}
    STEPS[name](Sizes(**given), Path(work), partial(write_result, Path(result)))


if __name__ == "__main__":
    main()
