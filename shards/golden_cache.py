"""Teacher caches of version 2.0 built from TEACHER_CACHE.md alone, of the golden set. make_golden.py writes them.

One is of features that cannot be asked again, without logits; the other of an ONNX file with logits. Values are no
teacher's: channel c of row i and column j is c + i / 4 + j / 16, exact in float16, and the last of three columns does
not count. The second view is the first one, mirrored left and right and then turned by a quarter.
"""

from __future__ import annotations

import io
import json
import tarfile
import zlib

import numpy as np
from golden_set import CLASSES, Files, Json, compact, golden, sha256

CHANNELS, STRIDE, STUDENT = 3, 16, "2.5x"
AUGMENTED = {"aux1": True, "aux2_added": True, "val": False}
TURNED = {"horizontal_flip": True, "quarter_turns": 1, "brightness": 1.25}
ONNX = {"kind": "onnx", "name": "encoder.onnx", "magnification": 10.0, "settings": {"tile": 224}}
FEATURES = {
    "kind": "features",
    "name": "features",
    "magnification": None,
    "settings": {"patch_size_level0": 64},
}


def golden_caches() -> Files:
    """Files of both caches, by path."""
    features = cache(FEATURES, classes=None, augments="map", sources=[STUDENT])
    onnx = cache(ONNX, classes=CLASSES, augments="image", sources=["10x", STUDENT])
    return {f"features/{path}": data for path, data in features.items()} | {
        f"onnx/{path}": data for path, data in onnx.items()
    }


def cache(teacher: Json, *, classes: list[str] | None, augments: str, sources: list[str]) -> Files:
    """A cache of the golden set's splits of AUGMENTED."""
    index = json.loads(golden()["index.json"])
    files: Files = {}
    entries = []
    for shard in index["shards"]:
        if shard["split"] not in AUGMENTED:
            continue
        draws = [draw({}), draw(TURNED)] if AUGMENTED[shard["split"]] else [draw({})]
        name = f"{shard['split']}-{shard['number']:06d}.tar"
        files[name] = tar(
            [member for key, size in samples(shard) for member in members(key, size, draws, classes)]
        )
        entries.append(
            {
                **{key: shard[key] for key in ("split", "number", "samples", "keys_sha256")},
                "path": name,
                "bytes": len(files[name]),
                "sha256": sha256(files[name]),
                "sources": {m: shard["files"][m]["sha256"] for m in sources},
                "augmented": AUGMENTED[shard["split"]],
                "turned": [str(drawn["quarter_turns"] % 2) * shard["samples"] for drawn in draws],
            }
        )
    strengths = {"brightness": 0.5, "contrast": 0.5, "saturation": 0.5, "hue": 0.2}
    document = {
        "format": "kdtrain-teacher-cache",
        "version": [2, 0],
        "created_by": {"kdtrain": "0"},
        "teacher": {**teacher, "sha256": sha256(teacher["name"].encode())},
        "student": {"magnification": 2.5, "output_stride": STRIDE},
        "classes": classes,
        "channels": CHANNELS,
        "augmentation": {**strengths, "horizontal_flip": True, "vertical_flip": True, "rotate": True},
        "augments": augments,
        "seed": 0,
        "views": 2,
        "precision": "fp32",
        "shards": entries,
    }
    files["cache.json"] = compact(document)
    return files


def samples(shard: Json) -> list[tuple[str, tuple[int, int]]]:
    """Key, and (width, height) of the student's image: at 2.5x a cell of the set is a pixel."""
    path = shard["files"][STUDENT]["path"]
    with tarfile.open(fileobj=io.BytesIO(golden()[path])) as archive:
        keys = [name.removesuffix(".json") for name in archive.getnames() if name.endswith(".json")]
    return [(key, (cells[0], cells[1])) for key, cells in zip(keys, shard["cells"], strict=True)]


def draw(changes: Json) -> Json:
    """A draw's record."""
    plain = {"brightness": 1.0, "contrast": 1.0, "saturation": 1.0, "hue": 0.0}
    flips = {"horizontal_flip": False, "vertical_flip": False, "quarter_turns": 0}
    return {"order": list(plain), **plain, **flips, **changes}


def members(
    key: str, size: tuple[int, int], draws: list[Json], classes: list[str] | None
) -> list[tuple[str, bytes]]:
    """A sample's record and its views."""
    views = [view(size, drawn, classes) for drawn in draws]
    entries = [{"draw": drawn, "crc32": zlib.crc32(data)} for drawn, data in zip(draws, views, strict=True)]
    record = compact({"version": [2, 0], "key": key, "views": entries})
    return [(f"{key}.json", record), *((f"{key}.v{n:03d}.st", data) for n, data in enumerate(views))]


def view(size: tuple[int, int], drawn: Json, classes: list[str] | None) -> bytes:
    """A view's tensors."""
    width, height = (-(-side // STRIDE) for side in size)
    c, i, j = np.ogrid[:CHANNELS, :height, :width]
    valid = np.broadcast_to(j < 2, (1, height, width))
    laid = np.where(valid, c + i / 4 + j / 16, 0)
    if drawn["horizontal_flip"]:
        laid, valid = laid[..., ::-1], valid[..., ::-1]
    laid, valid = (np.rot90(x, drawn["quarter_turns"], axes=(1, 2)) for x in (laid, valid))
    logits = {} if classes is None else {"logits": np.arange(len(classes), dtype=np.float32)}
    return safetensors({**logits, "map": laid.astype(np.float16), "valid": valid[0].astype(np.uint8)})


def safetensors(tensors: dict[str, np.ndarray]) -> bytes:
    """Length of the header, header padded with spaces to 8 bytes, numbers; tensors by falling size of their type."""
    names = {"float32": "F32", "float16": "F16", "uint8": "U8"}
    header: Json = {}
    start = 0
    for name, tensor in tensors.items():
        end = start + tensor.nbytes
        header[name] = {
            "dtype": names[tensor.dtype.name],
            "shape": list(tensor.shape),
            "data_offsets": [start, end],
        }
        start = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + b"".join(tensor.tobytes() for tensor in tensors.values())


def tar(content: list[tuple[str, bytes]]) -> bytes:
    """A ustar archive as TEACHER_CACHE.md has it, which ends with two blocks of zeros."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in content:
            info = tarfile.TarInfo(name)
            info.size, info.mode, info.uname, info.gname = len(data), 0o444, "kdtrain", "kdtrain"
            archive.addfile(info, io.BytesIO(data))
        end = archive.offset
    return buffer.getvalue()[: end + 1024]
