"""Rebuild the golden and invalid sets from the documents alone: nothing here imports slideprep or kdtrain.

``golden/`` is a whole valid set: three magnifications, five splits, two classes, an unlabelled pair of
auxiliary sets, a padded region, a slide without mpp. ``golden-1.1/`` is the same as version 1.1 had it, tars included
byte for byte. ``golden-cache/`` holds teacher caches of version 2.0 for both. Each folder of ``invalid/`` breaks the
rule that its name starts with and is otherwise valid. Every byte follows from these scripts and Pillow's JPEG encoder;
the pictures are coloured squares, not tissue.

    python shards/make_golden.py [FOLDER]
"""

from __future__ import annotations

import sys
from pathlib import Path

from golden_cache import golden_caches
from golden_set import Files, golden, golden_1_1
from invalid_sets import invalid


def write(folder: Path, files: Files) -> None:
    """Write files under a folder that does not exist yet."""
    for path, data in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)


def main(folder: Path) -> None:
    """Write golden/, golden-1.1/, golden-cache/ and invalid/ under ``folder``, which must hold none of them."""
    write(folder / "golden", golden())
    write(folder / "golden-1.1", golden_1_1())
    write(folder / "golden-cache", golden_caches())
    for name, files in invalid().items():
        write(folder / "invalid" / name, files)


if __name__ == "__main__":
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    for old in ("golden", "golden-1.1", "golden-cache", "invalid"):
        if (out / old).exists():
            sys.exit(f"{out / old} exists; delete it first, so that no old file stays behind")
    main(out)
