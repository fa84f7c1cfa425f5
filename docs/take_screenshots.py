"""Screenshots of the pages for the documents: finished pages in, small WebP pictures under docs/screenshots/ out.

    python docs/take_screenshots.py demo-out/report.html+5200 demo-out/shards/preview.html .../page.html@1000x640

What follows a + is how far down the page, what follows an @ the window, both in CSS pixels. Needs Chromium and Pillow.
A repository keeps every version of a picture for ever, so each is made small: its quality is lowered until it takes at
most LIMIT bytes.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

FOLDER = Path(__file__).resolve().parent / "screenshots"
LIMIT = 12_000
WINDOW = "860x540"
WIDTH_PX = 640
QUALITIES = tuple(range(70, 4, -5))
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run")


def screenshot(page: Path, *, down_px: int, window: str, folder: Path) -> Image.Image:
    """One screen of a page, in the light scheme, at WIDTH_PX."""
    width, height = (int(side) for side in window.split("x"))
    shot = folder / "shot.png"
    command = (
        *("chromium", *FLAGS, f"--user-data-dir={folder / 'profile'}", f"--screenshot={shot}"),
        *(f"--window-size={width},{down_px + height}", page.resolve().as_uri()),
    )
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    with Image.open(shot) as image:
        screen = image.convert("RGB").crop((0, down_px, width, down_px + height))
    return screen.resize((WIDTH_PX, height * WIDTH_PX // width), Image.Resampling.LANCZOS)


def small_webp(image: Image.Image) -> bytes:
    """The picture at the best quality that takes at most LIMIT bytes.

    Raises:
        ValueError: Even the least quality takes more.
    """
    for quality in QUALITIES:
        data = io.BytesIO()
        image.save(data, "webp", quality=quality, method=6)
        if data.tell() <= LIMIT:
            return data.getvalue()
    raise ValueError(f"{data.tell()} bytes at the least quality, and {LIMIT} are the most")


def main(pages: list[str]) -> None:
    """A picture of each page, called as the page is; that of a prediction, page.html, is called so."""
    FOLDER.mkdir(exist_ok=True)
    for given in pages:
        address, _, window = given.partition("@")
        name, _, down = address.partition("+")
        page = Path(name)
        target = FOLDER / f"{'prediction' if page.stem == 'page' else page.stem}.webp"
        with tempfile.TemporaryDirectory() as folder:
            image = screenshot(page, down_px=int(down or 0), window=window or WINDOW, folder=Path(folder))
        target.write_bytes(small_webp(image))
        print(f"{target.name}: {target.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
