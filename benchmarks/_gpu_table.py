"""gpu.json as one Markdown table, with what was aimed at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from statistics import median
from typing import Any

from _common import markdown_table

Found = Mapping[str, Any]

AIMED_AT = 1.25
"""Magnification of the aims."""
ONLINE_AIM, CACHED_AIM = 10.0, 50.0
"""Times the authors' loop."""
ENGINE_AIM = 1.03
"""Times the bare loop's seconds, at most."""
HEADER = ("step", "what", "figure", "x authors' loop", "data wait", "peak GB", "aim")

Line = tuple[str, str, str, str, str, str, str]


def report(found: Found, titles: Mapping[str, str]) -> str:
    """The machine, the table, and how every step ended. Whether an aim is reached, only a GPU's figures say.

    Args:
        found: The content of gpu.json.
        titles: What each step does, by its name.
    """
    steps: Mapping[str, Found] = found["steps"]
    judged = found["sizes"]["device"] == "cuda"
    lines = [[*line[:-1], line[-1] if judged else line[-1].partition(":")[0]] for line in _lines(steps)]
    ended = [
        [name, titles.get(name, ""), f"{step['seconds']:.0f} s", step["state"]]
        for name, step in steps.items()
    ]
    return (
        "\n\n".join(
            (
                _machine(_of(steps, "machine"), found["sizes"]),
                markdown_table(HEADER, lines),
                markdown_table(("step", "what", "took", "state"), [[_cell(c) for c in row] for row in ended]),
            )
        )
        + "\n"
    )


def _of(steps: Mapping[str, Found], name: str) -> Found:
    part: Found = steps.get(name, {}).get("found", {})
    return part


def _cell(text: str) -> str:
    return text.replace("|", "/").replace("\n", " ")


def _machine(machine: Found, sizes: Found) -> str:
    if not machine:
        return "Machine: unknown."
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    chip = machine.get("gpu", "no GPU used")
    cuda = (
        f"CUDA {machine['torch_cuda']}, driver {machine.get('driver', '?')}, NCCL {machine.get('nccl', '?')}"
    )
    what = f"{chip}, {cuda}" if "gpu" in machine else chip
    return (
        f"{what}; {machine['cpu']} ({machine['cores']} cores), Python {machine['python']}, {packages}. "
        f"{sizes['samples']} samples of {sizes['side_px']} px at 10x, {sizes['accumulate']} a step, "
        f"{sizes['workers']} loader processes."
    )


def _lines(steps: Mapping[str, Found]) -> Iterator[Line]:
    yield from _tests(_of(steps, "tests"))
    authors = authors_rates(_of(steps, "throughput-fp32"))
    for name in ("throughput-fp32", "throughput-bf16", "throughput-decode"):
        for row in _of(steps, name).get("rows", ()):
            yield _throughput(name, row, authors)
    yield from _engine(_of(steps, "engine"))
    for row in _of(steps, "memory").get("rows", ()):
        yield _memory(row)
    for row in _of(steps, "predict").get("rows", ()):
        what = f"slide by {row['magnification']:g}x, --device {row['device']}"
        figure = f"{row['seconds']:.2f} s, {row['from_cpu']:.1e} from the CPU's probabilities"
        yield "predict", what, figure, "", "", "", ""
    yield from _ranks(_of(steps, "ranks").get("rows", ()))


def _tests(found: Found) -> Iterator[Line]:
    if "tests" in found:
        bad = found["failures"] + found["errors"]
        figure = f"{found['tests']} run, {bad} failed, {found['skipped']} skipped"
        yield "tests", "of the suite", figure, "", "", "", ""


def authors_rates(found: Found) -> dict[tuple[str, float], float]:
    """Samples per second of the authors' loop by (teacher or online, magnification)."""
    return {
        (row["what"], row["magnification"]): row["samples_per_s"]
        for row in found.get("rows", ())
        if row["loop"] == "bare" and "samples_per_s" in row
    }


def _throughput(step: str, row: Found, authors: Mapping[tuple[str, float], float]) -> Line:
    """A cached student is compared with the authors' loop that computes the teacher, which is what they have."""
    loop = "authors' loop" if row["loop"] == "bare" else "kdtrain"
    what = f"{row['what']} {row['magnification']:g}x, {loop}"
    if "error" in row:
        return step, what, _cell(row["error"]), "", "", "", ""
    task = "online" if row["what"] == "cached" else row["what"]
    theirs = authors.get((task, row["magnification"]))
    times = None if theirs is None else row["samples_per_s"] / theirs
    aim = {"online": ONLINE_AIM, "cached": CACHED_AIM}.get(row["what"])
    aimed = aim is not None and row["loop"] == "kdtrain" and row["magnification"] == AIMED_AT
    return (
        step,
        what,
        f"{row['samples_per_s']:.1f} samples/s, {row['tflops']:.3g} TFLOP/s",
        "" if times is None else f"{times:.1f}",
        f"{row['wait_share']:.1%}",
        _gigabytes(row["peak_bytes"]),
        _aim(times, aim) if aimed and aim is not None else "",
    )


def _aim(times: float | None, aim: float) -> str:
    if times is None:
        return f"{aim:g} times: not compared"
    return f"{aim:g} times: {'reached' if times >= aim else 'missed'}"


def _gigabytes(count: float | None) -> str:
    return "" if count is None else f"{count / 1e9:.2f}"


def _engine(found: Found) -> Iterator[Line]:
    rows = found.get("rows", ())
    for precision in dict.fromkeys(row["precision"] for row in rows):
        own = {
            loop: [row for row in rows if (row["precision"], row["loop"]) == (precision, loop)]
            for loop in ("bare", "kdtrain")
        }
        seconds = {
            loop: median(1 / row["samples_per_s"] for row in measured) for loop, measured in own.items()
        }
        for loop, measured in own.items():
            ratio = seconds[loop] / seconds["bare"]
            aim = f"{ENGINE_AIM:g} at most: {'reached' if ratio <= ENGINE_AIM else 'missed'}"
            wait = median(row["wait_share"] for row in measured)
            yield (
                "engine",
                f"teacher 10x of {found['side_px']} px, {precision}, {'bare loop' if loop == 'bare' else loop}",
                f"{seconds[loop] * 1e3:.2f} ms a sample, {ratio:.3f} x the bare loop's",
                "",
                f"{wait:.1%}",
                _gigabytes(measured[0]["peak_bytes"]),
                aim if loop == "kdtrain" else "",
            )


def _memory(row: Found) -> Line:
    what = f"teacher's step on {row['side_px']} px, {row['step']}"
    predicted = f"predicted {row['predicted_bytes'] / 1e9:.2f} GB"
    if "error" in row:
        return "memory", what, f"{predicted}; {_cell(row['error'])}", "", "", "", ""
    ratio = row["predicted_bytes"] / row["measured_bytes"]
    within = "within 20 %: " + ("reached" if abs(ratio - 1) <= 0.2 else "missed")
    return "memory", what, f"{predicted}, {ratio:.2f} x", "", "", _gigabytes(row["measured_bytes"]), within


def _ranks(rows: Any) -> Iterator[Line]:
    first: list[float] = []
    for row in rows:
        what = f"{row['processes']} process{'es' * (row['processes'] > 1)}, {row['backend']}"
        if "error" in row:
            yield "ranks", what, _cell(row["error"]), "", "", "", ""
            continue
        first = first or row["losses"]
        furthest = max(abs(a / b - 1) for a, b in zip(row["losses"], first, strict=True))
        figure = f"{row['samples_per_s']:.1f} samples/s, losses within {furthest:.1e} of one process"
        yield "ranks", what, figure, "", "", "", ""
