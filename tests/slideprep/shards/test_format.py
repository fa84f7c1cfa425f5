"""Keys, paths, boxes, statistics and bytes of the writer's half of the contract."""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from webdataset import TarWriter

from slideprep.shards.format import (
    TAR_MODE,
    TAR_OWNER,
    ImageEncoding,
    PixelBox,
    Region,
    dump_json,
    key_for,
    member_info,
    shard_path,
    slide_key,
    statistics_from_sums,
    valid_box,
)


def test_key_shows_slug_hash_and_region() -> None:
    """A key is the name without extension, 8 digits of the name's SHA-256, and the region's number."""
    digest = hashlib.sha256(b"CMU-1 Small.Region.svs").hexdigest()[:8]
    assert key_for("CMU-1 Small.Region.svs", 7) == f"cmu-1-small-region-{digest}-r0007"
    assert slide_key("CMU-1 Small.Region.svs") == f"cmu-1-small-region-{digest}"


def test_keys_of_names_with_one_slug_differ() -> None:
    """Slides whose names differ only in case, punctuation or extension have different keys."""
    names = ["a b.svs", "A b.svs", "a-b.svs", "a.b.svs", "a b.ndpi"]
    assert len({key_for(name, 0) for name in names}) == len(names)


def test_key_does_not_depend_on_the_unicode_form() -> None:
    """A name gives one key whether its file system composes the ü or not."""
    assert key_for("Fall \u00fc.svs", 0) == key_for("Fall u\u0308.svs", 0)


@given(st.text(min_size=1, max_size=200), st.integers(0, 10**6))
def test_key_grammar_holds_for_any_name(name: str, region: int) -> None:
    """Whatever the slide's name, the key is in the grammar and leaves room for the extension."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return
    assert re.fullmatch(r"[a-z0-9_-]+-[0-9a-f]{8}-r[0-9]{4,}", key_for(name, region))
    assert len(key_for(name, region)) <= 90


@pytest.mark.parametrize(
    ("magnification", "path"),
    [(10.0, "10x/val-000012.tar"), (0.625, "0.625x/val-000012.tar"), (2.5, "2.5x/val-000012.tar")],
)
def test_path_prints_the_magnification_shortest(magnification: float, path: str) -> None:
    """A folder is named 10x, not 10.0x."""
    assert shard_path(magnification, "val", 12) == path


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        pytest.param(0, (0, 10), id="inside"),
        pytest.param(-8, (2, 8), id="two whole pixels of padding at the left"),
        pytest.param(-9, (3, 7), id="a pixel that is padding in part is no slide"),
        pytest.param(61, (0, 9), id="the last pixel reaches beyond the slide"),
    ],
)
def test_valid_box_counts_whole_pixels(x: int, expected: tuple[int, int]) -> None:
    """On a slide 100 px wide, ten pixels of four level-0 pixels each are valid where they lie wholly on it."""
    box = valid_box(x=x, y=0, width=10, height=1, factor=4, level0_width=100, level0_height=4)
    assert (box.x, box.width) == expected


def test_valid_box_forgives_a_rounded_factor() -> None:
    """A factor that was stored as a float gives the box of the exact fraction."""
    sides = {"x": 0, "y": 0, "width": 30, "height": 30, "level0_width": 100, "level0_height": 100}
    exact = valid_box(**sides, factor=Fraction(10, 3))
    assert exact == valid_box(**sides, factor=10 / 3)
    assert exact == PixelBox(x=0, y=0, width=30, height=30)


def test_statistics_of_two_pixels() -> None:
    """Black and white have mean 127.5 and deviation 127.5; two equal pixels have deviation 0."""
    statistics = statistics_from_sums(pixels=2, sums=(255, 14, 0), squares=(255**2, 98, 0))
    assert statistics.mean == (127.5, 7, 0)
    assert statistics.std == (127.5, 0, 0)


def test_json_is_sorted_compact_and_has_no_needless_points() -> None:
    """Keys are sorted under their JSON names, 2.0 is written 2, and letters beyond ASCII stay as they are."""
    region = Region(
        index=0,
        x=-1,
        y=2,
        width=2.0,
        height=2.5,
        source="auto",
        class_name="Drüse",
        name=None,
        masked_outside=False,
    )
    assert dump_json(region).decode() == (
        '{"class":"Drüse","height":2.5,"index":0,"masked_outside":false,'
        '"name":null,"source":"auto","width":2,"x":-1,"y":2}'
    )


@pytest.mark.parametrize("quality", [0, 101, 95.5, True, "95"])
def test_models_refuse_what_the_schema_refuses(quality: object) -> None:
    """A quality is a whole number from 1 to 100 and nothing that merely looks like one."""
    with pytest.raises(ValidationError):
        ImageEncoding(format="jpeg", quality=quality)  # type: ignore[arg-type]


def test_streamed_members_equal_tarwriters() -> None:
    """A member added from a file by its header is byte for byte what TarWriter writes from memory."""
    written, streamed = io.BytesIO(), io.BytesIO()
    with TarWriter(written, encoder=False, user=TAR_OWNER, group=TAR_OWNER, mode=TAR_MODE, mtime=0) as writer:
        writer.write({"__key__": "a-00000000-r0000", "jpg": b"picture"})
    with tarfile.open(fileobj=streamed, mode="w|") as tar:
        tar.addfile(member_info("a-00000000-r0000.jpg", 7), io.BytesIO(b"picture"))
    assert streamed.getvalue() == written.getvalue()
