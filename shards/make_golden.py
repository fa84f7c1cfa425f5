"""Rebuild golden/ and invalid/ from SHARD_FORMAT.md alone: nothing here imports slideprep or kdtrain.

``golden/`` is a whole valid set: three magnifications, five splits, two classes, an unlabelled pair of
auxiliary sets, a padded region, a slide without mpp. Each folder of ``invalid/`` breaks the rule that its
name starts with and is otherwise valid. Every byte follows from these scripts and Pillow's JPEG encoder;
the pictures are coloured squares, not tissue.

    python shards/make_golden.py [FOLDER]
"""

from __future__ import annotations

import sys
from pathlib import Path

from golden_set import Files, golden
from invalid_sets import invalid


def write(folder: Path, files: Files) -> None:
    """Write files under a folder that does not exist yet."""
    for path, data in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)


def main(folder: Path) -> None:
    """Write golden/ and invalid/ under ``folder``, which must hold neither."""
    write(folder / "golden", golden())
    for name, files in invalid().items():
        write(folder / "invalid" / name, files)


if __name__ == "__main__":
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    for old in ("golden", "invalid"):
        if (out / old).exists():
            sys.exit(f"{out / old} exists; delete it first, so that no old file stays behind")
    main(out)
