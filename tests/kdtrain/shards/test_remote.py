"""A set at a URL gives the samples and the weights of the same set in a folder, over a bad connection too."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fixtures.faulty_s3 import FaultyS3, faulty_s3
from fixtures.shard_sets import write_set
from fixtures.training_runs import kdtrain, record_of, trained, weights_sha256, write_training_set
from fixtures.waiting import wait_until
from kdtrain.data.loader import FetchAhead, first_uses
from kdtrain.data.plan import SampleRef
from kdtrain.data.samples import LoadedSample, SampleReader
from kdtrain.data.stream import EvaluationStream, SampleStream
from kdtrain.errors import UsageError
from kdtrain.report.runs.shard_set import find_set
from kdtrain.shards import remote
from kdtrain.shards.cache import CacheSettings
from kdtrain.shards.error import ShardError
from kdtrain.shards.index import Index, read_index
from kdtrain.shards.locations import Url
from kdtrain.sweep.plan import Options, make_plan
from kdtrain.sweep.runners.local import request_of

fsspec = pytest.importorskip("fsspec", reason="needs fsspec")
pytest.importorskip("s3fs", reason="needs s3fs: an S3 client")
pytest.importorskip("moto", reason="needs moto[server]: an S3 server")
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")

SHARDS = {"train": [4] * 8, "test": [3, 2]}
SET = "s3://bucket/set"
ROOM = 10**9


@pytest.fixture(scope="module")
def server() -> Iterator[FaultyS3]:
    """A server with an empty bucket, which the environment names."""
    with faulty_s3() as running, pytest.MonkeyPatch.context() as patch:
        for name, value in running.environment.items():
            patch.setenv(name, value)
        running.client().mkdir("bucket")
        yield running


@pytest.fixture(autouse=True)
def quiet(server: FaultyS3, monkeypatch: pytest.MonkeyPatch) -> None:
    """No faults and no requests before a test, and short waits in it."""
    server.shake(0)
    server.requests.clear()
    monkeypatch.setattr(remote, "WAITS_S", (0.01,) * 5)
    monkeypatch.setattr(remote, "LOOK_WAITS_S", (0.01,) * 2)


def upload(server: FaultyS3, folder: Path, url: str) -> str:
    """Put a folder at a URL, and return that."""
    server.upload(folder, url.removeprefix("s3://"))
    return url


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight training shards of four samples, and two to test with."""
    return write_set(tmp_path_factory.mktemp("sets") / "set", SHARDS)


@pytest.fixture(scope="module")
def local(folder: Path) -> Index:
    """The set in a folder."""
    return read_index(folder)


@pytest.fixture(scope="module")
def uploaded(server: FaultyS3, folder: Path) -> str:
    """The same set at a URL."""
    return upload(server, folder, SET)


@pytest.fixture
def there(uploaded: str, tmp_path: Path) -> Index:
    """The set at the URL, with an empty cache."""
    return read_index(uploaded, CacheSettings(directory=tmp_path / "cache", limit_bytes=ROOM))


def seen(sample: LoadedSample) -> tuple[Any, ...]:
    """All that training sees of a sample."""
    return sample.key, sample.label, {m: image.numpy().tobytes() for m, image in sample.images.items()}


def passes(index: Index, workers: int, **more: Any) -> list[list[tuple[Any, ...]]]:
    """Two epochs of a stream."""
    stream = SampleStream(index, "train", [10, 2.5], seed=3, accumulate=5, workers=workers, **more)
    try:
        return [[seen(s) for group in stream.epoch(epoch) for s in group.samples()] for epoch in (0, 1)]
    finally:
        stream.close()


def test_an_index_is_the_same_from_a_url(local: Index, there: Index, server: FaultyS3) -> None:
    """Identity and content are those of the folder; opening asks for no tar."""
    assert (there.sha256, there.document) == (local.sha256, local.document)
    assert there.directory == Url(SET)
    assert server.count(r"\.tar") == 0


@pytest.mark.parametrize("workers", [0, 2])
def test_samples_and_their_order_are_the_same_from_a_url(local: Index, there: Index, workers: int) -> None:
    """Two epochs at two magnifications: the same keys, labels and pixels in the same order, with any workers."""
    assert passes(there, workers) == passes(local, 0)


def test_two_ranks_share_one_cache(local: Index, there: Index, server: FaultyS3) -> None:
    """Two ranks with a worker each: every sample once over both, and every shard fetched once for both."""
    streams = [
        SampleStream(there, "train", [2.5], rank=rank, world_size=2, accumulate=2, workers=1)
        for rank in (0, 1)
    ]
    groups = [iter(stream.epoch(0)) for stream in streams]
    keys = [s.key for pair in zip(*groups, strict=True) for group in pair for s in group.samples()]
    for stream in streams:
        stream.close()
    whole = SampleStream(local, "train", [2.5], accumulate=4)
    assert keys == [s.key for group in whole.epoch(0) for s in group.samples()]
    assert server.count(r"2\.5x/train-\d+\.tar") == 8


@pytest.mark.parametrize("late_s", [0.0, 0.05], ids=["in time", "late"])
@pytest.mark.parametrize("at_once", [2, 3])
def test_a_shard_is_fetched_once_an_epoch_where_the_set_does_not_fit(
    there: Index, server: FaultyS3, monkeypatch: pytest.MonkeyPatch, at_once: int, late_s: float
) -> None:
    """Room for the shards that are mixed and one more: in each of two epochs no shard is fetched twice.

    Nor is one where the thread that fetches ahead gets no turn for as long as several samples take.
    """
    ensure = SampleReader.ensure
    monkeypatch.setattr(SampleReader, "ensure", lambda *given: (time.sleep(late_s), ensure(*given)))
    largest = max(shard.files["2.5x"].bytes for shard in there.shards_of("train"))
    index = replace(there, cache=replace(there.cache, limit_bytes=(at_once + 1) * largest))
    stream = SampleStream(index, "train", [2.5], seed=1, accumulate=4, window_shards=at_once)
    for epoch in (0, 1):
        server.requests.clear()
        keys = [s.key for group in stream.epoch(epoch) for s in group.samples()]
        fetched = Counter(path for method, path in server.requests if method == "GET")
        assert len(keys) == len(set(keys)) == 32
        assert max(fetched.values()) == 1
        assert len(fetched) >= 8 - at_once - 1
        cached = index.cache.directory.glob("*.tar")
        assert sum(path.stat().st_size for path in cached) <= index.cache.limit_bytes


class LateShards:
    """Shards 0 and 1 are there; asked for another, it lets the reader go on to ``delivered`` before it looks itself."""

    def __init__(self, delivered: int) -> None:
        self._delivered = delivered
        self.ahead: FetchAhead | None = None
        self.kept: list[int] = []
        self.answers: dict[int, bool] = {}

    def ensure(self, shard: int, wanted: Callable[[], bool]) -> None:
        """A slow one."""
        if shard > 1:
            wait_until(lambda: self.ahead is not None, "the reader is there")
            while self._delivered:
                self._delivered -= 1
                self.ahead.delivered()
        self.answers[shard] = wanted()

    def keep(self, shard: int) -> None:
        """Counts as read."""
        self.kept.append(shard)


@pytest.mark.parametrize(
    ("delivered", "fetched", "kept"),
    [(0, {0, 1, 2}, [0, 0, 1]), (4, {0, 1, 2}, [0, 0, 1]), (5, {0, 1}, [0, 0, 1])],
    ids=["in time", "at its first sample", "the reader was faster"],
)
def test_a_shard_that_the_reader_has_begun_with_is_not_fetched_ahead(
    delivered: int, fetched: set[int], kept: list[int]
) -> None:
    """Shard 2 begins at place 4: once five samples have come, it is the reader's own affair, and so is shard 1."""
    late = LateShards(delivered)
    order = [SampleRef(shard, i) for shard in range(4) for i in range(2)]
    ahead = late.ahead = FetchAhead(lambda: order, late, ahead=2, read_ahead=0)
    wait_until(lambda: 2 in late.answers, "shard 2 was asked for")
    ahead.stop()
    assert {shard for shard in (0, 1, 2) if late.answers[shard]} == fetched
    assert late.kept[: len(kept)] == kept


def test_nothing_is_fetched_for_a_pass_that_has_ended() -> None:
    """A thread that comes late into the next epoch fetches nothing more."""
    late = LateShards(0)
    ahead = FetchAhead(lambda: [SampleRef(2, 0)], late, ahead=1, read_ahead=0)
    ahead.stop()
    late.ahead = ahead
    time.sleep(0.1)
    assert not any(late.answers.values())


def test_the_next_shard_is_fetched_while_this_one_is_read(there: Index, server: FaultyS3) -> None:
    """In evaluation, where shards come in turn, the second is asked for before its first sample is wanted."""
    samples = iter(EvaluationStream(there, "test", [2.5]))
    first = next(samples)
    second = there.path_of(there.shards_of("test")[1], 2.5)
    wait_until(lambda: server.count(str(second).removeprefix("s3:/")), "the second shard is asked for")
    assert (first.shard, server.count(str(second).removeprefix("s3:/"))) == ("test-000000", 1)
    assert len(list(samples)) == 4


def test_where_each_shard_is_first_needed() -> None:
    """Of the order 5 5 2 5 7 2: shard 5 at place 0, 2 at 2, 7 at 4."""
    order = [SampleRef(shard, 0) for shard in (5, 5, 2, 5, 7, 2)]
    assert first_uses(order) == [(0, 5), (2, 2), (4, 7)]


def test_a_cache_too_small_is_refused_with_the_numbers(there: Index) -> None:
    """Too small for the shards that are mixed: the message says how many, how much they take, and what to give."""
    index = replace(there, cache=replace(there.cache, limit_bytes=20_000))
    with pytest.raises(
        UsageError, match=r"--shard-cache-gb 2e-05: 'train' .* is read 8 shards at a time"
    ) as caught:
        SampleStream(index, "train", [10])
    needed = float(str(caught.value).partition("Give at least ")[2].partition(",")[0])
    enough = replace(there, cache=replace(there.cache, limit_bytes=int(needed * 1e9)))
    SampleStream(enough, "train", [10]).close()


# Faults


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two shards of a sample at one magnification."""
    return write_set(tmp_path_factory.mktemp("small") / "set", {"train": [1, 1]}, magnifications=(10,))


@pytest.mark.parametrize("fault", ["drop", "503", "cut", "short", "flip"])
def test_a_fault_on_the_way_changes_no_sample(
    local: Index, there: Index, server: FaultyS3, fault: Any
) -> None:
    """A dropped connection, a 503, a cut body, a short one, a wrong byte: a later attempt brings the right sample."""
    server.fail(fault, path=r"10x/train-000000\.tar", times=2)
    samples = [SampleReader(index, "train", [10]).load(SampleRef(0, 1)) for index in (local, there)]
    assert seen(samples[0]) == seen(samples[1])
    assert [made for made, *_ in server.faults[-2:]] == [fault, fault]


def test_a_storage_that_stays_away_is_given_up(there: Index, server: FaultyS3) -> None:
    """Attempts are bounded, and the error says how many there were and what the last one met; nothing half stays."""
    server.fail("503", path="train-000003", times=1000)
    with pytest.raises(ShardError, match=r"6 attempts failed; the last: .*\(rule storage\)"):
        SampleReader(there, "train", [10]).load(SampleRef(3, 0))
    assert server.count("train-000003") <= 6 * remote.S3FS_ATTEMPTS
    assert [path.name for path in there.cache.directory.iterdir()] == ["cache.lock"]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stream_stops_at_the_sample_that_cannot_be_had(
    there: Index, server: FaultyS3, workers: int
) -> None:
    """The error comes out of a loader's worker as it is, at the place of the sample in the order."""
    server.fail("503", path="10x/test-000001", times=1000)
    delivered = []
    stream = EvaluationStream(there, "test", [10], workers=workers)
    with pytest.raises(ShardError, match="rule storage"):
        delivered.extend(sample.key for sample in stream)
    stream.close()
    assert len(delivered) == 3


def test_a_shard_that_was_changed_since_is_refused(server: FaultyS3, small: Path, tmp_path: Path) -> None:
    """Other bytes of the same size under the same name: F09, after three attempts, and they are not kept."""
    index = read_index(
        upload(server, small, "s3://bucket/changed"),
        CacheSettings(directory=tmp_path / "cache", limit_bytes=ROOM),
    )
    path = "s3://bucket/changed/10x/train-000001.tar"
    fs = fsspec.filesystem("s3")
    fs.pipe_file(path, bytes(fs.info(path)["size"]))
    with pytest.raises(ShardError, match=r"3 attempts failed: the SHA-256 .*F09 file-checksum.*was changed"):
        SampleReader(index, "train", [10]).load(SampleRef(1, 0))
    assert not list(index.cache.directory.glob("*.tar"))


@pytest.mark.parametrize(
    ("damage", "rule"),
    [("gone", "F07 file-present"), ("short", "F08 file-size"), ("no-index", "F01 index-present")],
)
def test_an_incomplete_set_is_refused_when_it_is_opened(
    server: FaultyS3, small: Path, damage: str, rule: str
) -> None:
    """A missing tar, one of another size and a missing index are found before anything is fetched."""
    url, fs = upload(server, small, f"s3://bucket/{damage}"), fsspec.filesystem("s3")
    if damage == "short":
        fs.pipe_file(f"{url}/10x/train-000001.tar", b"short")
    else:
        fs.rm_file(f"{url}/index.json" if damage == "no-index" else f"{url}/10x/train-000001.tar")
    with pytest.raises(ShardError) as caught:
        read_index(url)
    assert caught.value.rule == rule
    assert url in str(caught.value)


def test_who_may_not_read_is_told_at_once(
    uploaded: str, server: FaultyS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Denied, and without credentials: one attempt, and a message about credentials."""
    server.fail("403", path=r"index\.json", times=1)
    server.fail("403", method="HEAD", path=r"index\.json", times=1)
    with pytest.raises(UsageError, match=r"cannot be read: .*credentials"):
        read_index(uploaded)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    with pytest.raises(UsageError, match="Unable to locate credentials"):
        read_index(uploaded)
    fsspec.get_filesystem_class("s3").clear_instance_cache()


@pytest.mark.parametrize(("scheme", "package", "extra"), [("gs", "gcsfs", "gcs"), ("az", "adlfs", "azure")])
def test_a_scheme_without_its_package_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, scheme: str, package: str, extra: str
) -> None:
    """gs:// and az:// name the extra of kdtrain that brings the backend."""
    if scheme in fsspec.registry:
        pytest.skip(f"{package} was imported before")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UsageError, match=rf'pip install "kdtrain\[{extra}\]"'):
        read_index(f"{scheme}://bucket/set")


def test_a_message_holds_no_signature() -> None:
    """Queries and users of URLs are left out of what a backend said."""
    error = OSError("cannot reach https://ada:hush@host/set/index.json?sig=hush&se=1 in time\nmore")
    assert remote.plain(error) == "cannot reach https://...@host/set/index.json?... in time"


def test_another_backend_reads_the_same(folder: Path, local: Index, tmp_path: Path) -> None:
    """memory:// goes the same way: nothing but the client is of S3."""
    fsspec.filesystem("memory").put(str(folder), "/sets/mine", recursive=True)
    index = read_index("memory://sets/mine", CacheSettings(directory=tmp_path, limit_bytes=ROOM))
    assert passes(index, 0) == passes(local, 0)


# Commands


@pytest.fixture(scope="module")
def training_set(server: FaultyS3, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A set with every kind of split, in a folder and at a URL."""
    folder = write_training_set(tmp_path_factory.mktemp("training") / "set")
    return folder, upload(server, folder, "s3://bucket/training")


def test_weights_are_the_same_from_a_url(
    training_set: tuple[Path, str], server: FaultyS3, tmp_path: Path
) -> None:
    """A teacher from the folder and one from the URL, a request in ten spoiled: the same bits, no key in the run."""
    folder, url = training_set
    here = trained("teacher", folder, tmp_path / "here")
    server.shake(0.1, seed=5)
    run = trained("teacher", url, tmp_path / "there", "--shard-cache", tmp_path / "cache")
    server.shake(0)
    assert weights_sha256(run) == weights_sha256(here)
    assert record_of(run)["other_settings"]["shards"] == url
    kept = b"".join(path.read_bytes() for path in run.rglob("*") if path.is_file())
    assert server.environment["AWS_SECRET_ACCESS_KEY"].encode() not in kept

    said = kdtrain("evaluate", run, "--shards", url, "--shard-cache", tmp_path / "cache")
    assert said.code == 0, said.said
    recorded = (Url(record_of(run)["other_settings"]["shards"]),)
    index = find_set(None, recorded, record_of(run)["shard_set"]["sha256"]).index
    assert index is not None
    assert index.directory == Url(url)


def test_a_recipe_may_name_a_url(training_set: tuple[Path, str], tmp_path: Path) -> None:
    """A sweep is planned from the index at the URL of its recipe, and its runs are told URL and cache as text."""
    recipe, url = tmp_path / "recipe.yaml", training_set[1]
    recipe.write_text(
        f"title: A test\nshards: {url}\nout: {tmp_path / 'sweep'}\nmagnifications: [2.5]\n"
        "settings: {epochs: 1, workers: 0, accumulate: 4, shard_cache: cache, shard_cache_gb: 1}\n"
        "methods: {Baseline: {phase: baseline}}\n"
    )
    plan = make_plan(Options(recipe=recipe))
    (job,) = plan.jobs
    where = {"shards": plan.shards, "out": plan.out, "evaluate": plan.recipe.evaluate}
    request = json.loads(json.dumps(request_of(job, train=True, **where)))
    assert (plan.shards, request["shards"], request["config"]["shards"]) == (Url(url), url, url)
    assert request["cache"] == ["cache", 1.0]


def test_a_small_cache_is_refused_before_any_work(training_set: tuple[Path, str], tmp_path: Path) -> None:
    """The command ends with exit code 2 and leaves no run."""
    said = kdtrain(
        "teacher", "--shards", training_set[1], "--out", tmp_path / "run", "--shard-cache-gb", "1e-6"
    )
    assert said.code == 2
    assert "--shard-cache-gb 1e-06" in said.said
    assert not list(tmp_path.iterdir())
