"""``slideprep synthesize``: make a folder of synthetic slides from the command line."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import click

from slideprep.cli.paths import NUMBER, WHOLE, within
from slideprep.errors import UsageError
from slideprep.text import for_terminal

_PIECE_PX = within(WHOLE, 64, 20_000)
_SHARE = within(NUMBER, 0, 1, above=True)


@click.command("synthesize")
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--slides",
    "n_slides",
    type=within(WHOLE, 0, 100_000),
    default=24,
    show_default=True,
    help="Labelled slides to make.",
)
@click.option(
    "--unlabelled",
    type=within(WHOLE, 0, 100_000),
    default=0,
    show_default=True,
    help="Further slides without a label, one patient each.",
)
@click.option("--classes", default="normal,inflamed,atypical", show_default=True, help="Classes, in turn.")
@click.option(
    "--seed", type=within(WHOLE, 0, 2**63 - 1), default=0, show_default=True, help="Same seed, same bytes."
)
@click.option(
    "--workers",
    type=within(WHOLE, 1, 1000),
    default=None,
    help="Processes [default: one per core]; changes no pixel.",
)
@click.option(
    "--piece-px",
    type=(_PIECE_PX, _PIECE_PX),
    default=(1500, 2200),
    show_default=True,
    help="Least and most pixels a side of a piece of tissue at 20x (0.5 µm per pixel).",
)
@click.option(
    "--focal",
    is_flag=True,
    help="Normal tissue with a lesion of the slide's class in each piece; see truth/.",
)
@click.option(
    "--lesion-share",
    type=(_SHARE, _SHARE),
    default=None,
    help="Least and most of a piece's area that its lesion takes, with --focal [default: 0.10 0.25].",
)
@click.option(
    "--objective",
    type=click.Choice(["20", "40"]),
    default="20",
    show_default=True,
    help="Of the scanner: 20 is 0.5 µm per pixel; 40 the same, enlarged to 0.25.",
)
@click.option(
    "--stain-shift",
    type=within(NUMBER, 0, 2),
    default=0.0,
    show_default=True,
    help="How far the stains lie towards those of another laboratory; 1: as far; 0 to 2.",
)
def synthesize_command(
    out: Path,
    n_slides: int,
    unlabelled: int,
    classes: str,
    seed: int,
    workers: int | None,
    piece_px: tuple[int, int],
    focal: bool,
    lesion_share: tuple[float, float] | None,
    objective: str,
    stain_shift: float,
) -> None:
    """Make SYNTHETIC H&E-like slides in OUT, with labels.csv, to try the pipeline on.

    20x pyramidal TIFFs of 0.5 µm per pixel, in three classes whose nuclei and glands differ. They show no
    patient's tissue. The same command again completes an interrupted set.

    With --focal, to test what points at the place that speaks for a class: the tissue is normal but for lesions, whose
    outlines OUT/truth holds as GeoJSON in level-0 pixels.

    With another --seed, --stain-shift and --objective 40, to test a network on slides from elsewhere: those of another
    laboratory and scanner.
    """
    # Loaded here, so that --help answers at once.
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from slideprep.synthetic.dataset import make_slides
    from slideprep.synthetic.lesion import LesionSize
    from slideprep.synthetic.slide import Origin, SlideSize

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    began = time.monotonic()
    try:
        if lesion_share and not focal:
            raise UsageError(
                "--lesion-share is the size of lesions, and without --focal slides have none; add --focal or leave "
                "it out"
            )
        lesion_size = LesionSize(share=lesion_share) if lesion_share else LesionSize()
        with Progress(*columns, console=console) as progress:
            task = progress.add_task("synthetic slides", total=n_slides + unlabelled)
            paths = make_slides(
                out,
                n_slides=n_slides,
                unlabelled=unlabelled,
                classes=[name.strip() for name in classes.split(",") if name.strip()],
                seed=seed,
                workers=workers or os.cpu_count() or 1,
                size=SlideSize(piece_px=piece_px),
                lesion_size=lesion_size if focal else None,
                origin=Origin(objective=int(objective), stain_shift=stain_shift),
                on_slide=lambda _: progress.advance(task),
            )
    except UsageError as error:
        click.echo(for_terminal(f"error: {error}"), err=True)
        sys.exit(2)
    click.echo(for_terminal(_summary(out, paths, unlabelled, time.monotonic() - began)))


def _summary(out: Path, paths: list[Path], unlabelled: int, seconds: float) -> str:
    megabytes = sum(path.stat().st_size for path in paths) / 1e6
    return (
        f"{len(paths)} synthetic slides ({unlabelled} of them unlabelled), {megabytes:.0f} MB, "
        f"in {seconds:.0f} s: {out}\nlabels: {out / 'labels.csv'}"
    )
