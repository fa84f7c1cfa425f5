"""Samples per second of kdtrain beside a bare PyTorch loop in the style of the paper's published code, in one run.

    python benchmarks/throughput.py [--device auto] [--precision bf16] [--micro-batch 8] [--decode device] [--compile]

Teacher, distillation with the teacher at work (online), and distillation from a cache of its outputs, at several
magnifications. Each kdtrain figure is of its own loop, as the command runs it. The bare loop decodes by Pillow in
DataLoader's workers and computes one image at a time in float32. All variants take turns; of each the median over
the rounds counts, and of a run all epochs but the first. Images are synthetic and square. The wait for an epoch's
first sample is data wait too: with few samples it is most of it.

MP/s counts the pixels that a variant reads. TFLOP/s counts convolutions and fully connected layers, two operations per
multiply-add (kdtrain.model.flops), a backward pass as two forward passes and the teacher as one forward pass;
augmentation is time but no arithmetic here. On a GPU: peak memory as PyTorch allocates it, and GB/s, the bytes that the
operations of a step read and write by the time that it takes (benchmarks/_traffic.py says what that means). The chip's
peaks are compared with only if you give them.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import click
import torch
from _common import machine, machine_line, markdown_table
from _kdtrain_loop import HIGH, Setting, Variant, bytes_per_sample, variants, write_cache
from _paper_loop import Measured
from _tissue_set import write_tissue_set

from kdtrain.training.engine.launch import Launch, pick_device

MIN_SIDE_PX = 32


@dataclass(frozen=True, kw_only=True)
class Peaks:
    """Of the chip, as the user gave them; None for unknown."""

    tflops: float | None
    gbs: float | None


def row(
    setting: Setting,
    variant: Variant,
    measured: Measured,
    bare: float | None,
    traffic: float | None,
    peaks: Peaks,
) -> list[str]:
    """A line of the table; ``bare`` is the bare loop's rate on the same task, ``traffic`` bytes a sample."""
    rate = measured.samples_per_s
    tflops = setting.gflops(variant) * rate / 1e3
    gbs = None if traffic is None else traffic * rate / 1e9
    return [
        f"{variant.what} {variant.magnification:g}x",
        variant.loop,
        f"{rate:.2f}",
        "" if bare is None else f"{rate / bare:.2f}",
        f"{setting.megapixels(variant) * rate:.2f}",
        f"{measured.wait_share:.1%}",
        f"{tflops:.4g}" + _of_peak(tflops, peaks.tflops),
        "" if measured.peak_bytes is None else f"{measured.peak_bytes / 1e9:.2f}",
        "" if gbs is None else f"{gbs:.4g}" + _of_peak(gbs, peaks.gbs),
    ]


def _of_peak(value: float, peak: float | None) -> str:
    return "" if peak is None else f" ({value / peak:.0%})"


HEADER = ("trained", "loop", "samples/s", "x bare", "MP/s", "data wait", "TFLOP/s", "peak GB", "GB/s")


def table(
    setting: Setting,
    rows: list[Variant],
    found: Mapping[Variant, list[Measured]],
    traffic: Mapping[Variant, float | None],
    peaks: Peaks,
) -> str:
    """Medians over the rounds. A cached student is compared with the bare loop's online one."""
    middle = {v: sorted(found[v], key=lambda one: one.samples_per_s)[len(found[v]) // 2] for v in rows}
    rates = {
        (v.what, v.magnification): median(one.samples_per_s for one in found[v])
        for v in rows
        if v.loop == "bare"
    }
    lines = []
    for variant in rows:
        task = "online" if variant.what == "cached" else variant.what
        bare = rates.get((task, variant.magnification))
        lines.append(row(setting, variant, middle[variant], bare, traffic.get(variant), peaks))
    return markdown_table(HEADER, lines)


def versions() -> str:
    """Date, device and the libraries of training."""
    packages = ("torch", "torchvision", "deepspeed")
    named = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    chip = f", {torch.cuda.get_device_name()}, CUDA {torch.version.cuda}" if torch.cuda.is_available() else ""
    return f"{datetime.datetime.now(datetime.UTC).date()}{chip}; {named}."


def check(samples: int, side_px: int, magnifications: tuple[float, ...]) -> None:
    """Refuse what the set cannot be made of, before any work."""
    lowest = min(magnifications)
    factors = [HIGH / m for m in magnifications]
    if samples < 2 or any(m >= HIGH for m in magnifications) or any(f != int(f) for f in factors):
        raise click.UsageError("give 2 samples or more, and magnifications that are 10 by a whole number")
    least = MIN_SIDE_PX * HIGH / lowest
    if side_px < least or any(side_px % int(f) for f in factors):
        raise click.UsageError(
            f"--side-px must be a multiple of {max(factors):g}, and {least:g} or more for {lowest:g}x"
        )


@click.command(help=__doc__.partition("\n")[0])
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--samples", default=8, show_default=True, help="Of an epoch.")
@click.option("--side-px", default=1024, show_default=True, help="Of the square images at 10x.")
@click.option("--magnifications", default="5,2.5,1.25", show_default=True, help="Of the students.")
@click.option("--accumulate", default=32, show_default=True, help="Samples per step.")
@click.option("--workers", default=1, show_default=True, help="Loader processes, of both loops.")
@click.option("--rounds", default=2, show_default=True, help="Times that each variant runs, in turn.")
@click.option("--views", default=2, show_default=True, help="Of the cache.")
@click.option("--threads", default=1, show_default=True, help="Of a CPU's arithmetic.")
@click.option(
    "--precision",
    type=click.Choice(["fp32", "bf16", "fp16"]),
    default="fp32",
    show_default=True,
    help="kdtrain's.",
)
@click.option("--micro-batch", default=1, show_default=True, help="kdtrain's.")
@click.option(
    "--decode", type=click.Choice(["cpu", "device"]), default="cpu", show_default=True, help="kdtrain's."
)
@click.option("--compile/--no-compile", "compiled", default=False, help="kdtrain's.")
@click.option("--bandwidth/--no-bandwidth", default=None, help="Whether to count bytes.  [default: on a GPU]")
@click.option("--peak-tflops", type=float, help="Of the chip in that precision, to compare with.")
@click.option("--peak-gbs", type=float, help="Of the chip's memory, to compare with.")
def main(
    device: str,
    samples: int,
    side_px: int,
    magnifications: str,
    accumulate: int,
    workers: int,
    rounds: int,
    views: int,
    threads: int,
    precision: str,
    micro_batch: int,
    decode: str,
    compiled: bool,
    bandwidth: bool | None,
    peak_tflops: float | None,
    peak_gbs: float | None,
) -> None:
    """Measure and print."""
    torch.set_num_threads(threads)
    options = {"precision": precision, "micro_batch": micro_batch, "decode": decode, "compile": compiled}
    students = tuple(sorted((float(m) for m in magnifications.split(",")), reverse=True))
    check(samples, side_px, students)
    where = pick_device(device, Launch())
    with tempfile.TemporaryDirectory() as name:
        setting = Setting(
            folder=Path(name),
            device=where,
            side_px=side_px,
            accumulate=accumulate,
            workers=workers,
            options=options,
        )
        write_tissue_set(setting.shards, samples, side_px, (HIGH, *students))
        rows = variants(setting, students)
        found: dict[Variant, list[Measured]] = {variant: [] for variant in rows}
        caching: dict[float, float] = {}
        for number in range(rounds):
            for variant in rows:
                if variant.what == "cached" and variant.magnification not in caching:
                    caching[variant.magnification] = write_cache(setting, variant.magnification, views)
                found[variant].append(variant.run(number))
                click.echo(
                    f"{variant.what} {variant.magnification:g}x, {variant.loop}: {found[variant][-1]}",
                    err=True,
                )
        counted = where.type == "cuda" if bandwidth is None else bandwidth
        traffic = {v: bytes_per_sample(setting, v) for v in rows} if counted else {}
        click.echo(table(setting, rows, found, traffic, Peaks(tflops=peak_tflops, gbs=peak_gbs)))
    shown = ", ".join(f"{name} {value}" for name, value in options.items())
    cost = ", ".join(f"{rate:.2f} at {m:g}x" for m, rate in caching.items())
    click.echo(
        f"\n{samples} samples of {side_px} px at 10x, {accumulate} a step, {rounds} rounds, {workers} loader "
        f"processes, {threads} threads; kdtrain with {shown}. Making a cache of {views} "
        f"views: {cost} views per second, start included.\n{versions()} {machine_line(machine())}"
    )


if __name__ == "__main__":
    main()
