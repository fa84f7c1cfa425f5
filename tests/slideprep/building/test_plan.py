"""Whole slides go into shards in an order that depends on names and the seed alone."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from slideprep.building.plan import (
    BYTES_PER_PX,
    SHARDS_WANTED,
    Sample,
    Shard,
    estimated_bytes,
    plan_shards,
    rank,
)
from slideprep.regions.layout import Layout
from slideprep.shards.format import key_for

MEGAPIXEL = Layout(x=0, y=0, columns=1000, rows=1000)


def _sample(slide: str, index: int = 0, layout: Layout = MEGAPIXEL) -> Sample:
    return Sample(
        key=key_for(slide, index), slide=slide, index=index, layout=layout, source="auto", label=None
    )


def _plan(samples: Sequence[Sample], *, seed: int = 0, shard_mb: int = 256) -> tuple[Shard, ...]:
    split_of = {s.slide: "test" if s.slide.startswith("t") else "train" for s in samples}
    return plan_shards(
        samples, split_of, magnifications=[10.0], image_format="jpeg", shard_mb=shard_mb, seed=seed
    )


SLIDES = [f"{prefix}{number}" for prefix in "at" for number in range(40)]
SAMPLES = [_sample(slide, index) for slide in SLIDES for index in range(3)]


def _slide_order(shards: Sequence[Shard]) -> list[str]:
    """Slides in the order of the shards; inside a shard by rank, as samples are shuffled there."""
    return [
        name
        for shard in shards
        for name in sorted(shard.slides, key=lambda name: (rank(0, "slides", name), name))
    ]


def test_every_sample_is_planned_once_and_slides_stay_whole() -> None:
    """The shards are a partition of the samples, and no slide is in two of them."""
    shards = _plan(SAMPLES)
    assert sorted(s.key for shard in shards for s in shard.samples) == sorted(s.key for s in SAMPLES)
    assert sorted(name for shard in shards for name in shard.slides) == sorted(SLIDES)


def test_shards_are_numbered_by_split_from_0() -> None:
    """Every split counts its shards from 0 without gaps, and holds its own slides only."""
    shards = _plan(SAMPLES)
    for split, prefix in (("train", "a"), ("test", "t")):
        group = [shard for shard in shards if shard.split == split]
        assert [shard.number for shard in group] == list(range(len(group)))
        assert all(name.startswith(prefix) for shard in group for name in shard.slides)
    assert shards[0].name == "test-000000"


@given(st.permutations(SAMPLES))
def test_the_order_of_the_input_does_not_matter(shuffled: list[Sample]) -> None:
    """Slides found in another order, by other workers, give the same plan."""
    assert _plan(shuffled) == _plan(SAMPLES)


def test_the_seed_changes_the_order_of_slides_and_samples() -> None:
    """Two seeds give two plans of the same samples; one seed gives one plan."""
    assert _plan(SAMPLES, seed=1) == _plan(SAMPLES, seed=1)
    one, two = ([s.key for shard in _plan(SAMPLES, seed=seed) for s in shard.samples] for seed in (1, 2))
    assert one != two
    assert sorted(one) == sorted(two)


def test_slides_and_samples_do_not_come_in_order_of_their_names() -> None:
    """A loader that reads a shard from front to back sees its slides mixed."""
    shard = next(shard for shard in _plan(SAMPLES) if len(shard.slides) > 1)
    slides = [sample.slide for sample in shard.samples]
    assert slides not in (sorted(slides), sorted(slides, reverse=True))
    assert _slide_order(_plan(SAMPLES)) != sorted(SLIDES)


def test_a_shard_stays_below_its_size_unless_one_slide_is_larger() -> None:
    """At 0.6 MB a sample and 2 MB a shard, small slides share a shard, and the slide of 6 MB has its own."""
    large = _sample("a-large", layout=Layout(x=0, y=0, columns=10_000, rows=1000))
    small = [_sample(f"a{number}") for number in range(100)]
    shards = _plan([*small, large], shard_mb=2)
    sizes = [
        (len(shard.slides), sum(estimated_bytes(s.layout, [10.0], "jpeg") for s in shard.samples))
        for shard in shards
    ]
    assert all(size <= 2e6 or slides == 1 for slides, size in sizes)
    assert max(slides for slides, _ in sizes) == 3
    assert [shard.slides for shard in shards if "a-large" in shard.slides] == [("a-large",)]


def test_a_small_set_still_gets_several_shards() -> None:
    """Eighty slides of 1.8 MB fit one shard of 256 MB, but then nobody could share the work."""
    assert SHARDS_WANTED <= len(_plan(SAMPLES)) <= 2 * SHARDS_WANTED


@given(st.integers(0, 39))
def test_another_slide_moves_no_other_relative_to_the_rest(number: int) -> None:
    """Without one slide, the others keep the order that they had with it."""
    removed = f"a{number}"
    fewer = _plan([sample for sample in SAMPLES if sample.slide != removed])
    assert _slide_order(fewer) == [name for name in _slide_order(_plan(SAMPLES)) if name != removed]


def test_sizes_are_estimated_at_the_highest_magnification() -> None:
    """At 10x and 5x a cell is 2 px at 10x: 1000 x 1000 cells are 4 megapixels of JPEG."""
    assert estimated_bytes(MEGAPIXEL, [5.0, 10.0], "jpeg") == 4e6 * BYTES_PER_PX["jpeg"]


def test_nothing_gives_no_shards() -> None:
    """A set whose slides all failed has an empty plan."""
    assert _plan([]) == ()
