"""Where a shard set lies: paths and URLs apart, and no password in either."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdtrain.config.phases import TeacherConfig
from kdtrain.errors import UsageError
from kdtrain.shards.locations import Url, location_of, resolved


@pytest.mark.parametrize(
    ("given", "location"),
    [
        ("shards/mine", Path("shards/mine")),
        (Path("/a/b"), Path("/a/b")),
        ("file:///a/b", Path("/a/b")),
        ("s3://bucket/sets/mine/", Url("s3://bucket/sets/mine")),
        ("S3://bucket", Url("s3://bucket")),
        ("memory:///set", Url("memory://set")),
        (
            "abfs://container@account.dfs.core.windows.net/set",
            Url("abfs://container@account.dfs.core.windows.net/set"),
        ),
        (Url("gs://b/s"), Url("gs://b/s")),
    ],
)
def test_what_was_typed_is_a_path_or_a_url(given, location):
    """A scheme of object storage makes a URL; file:// and everything else is a path."""
    assert location_of(given) == location


def test_a_file_of_a_set_is_below_its_url():
    """Slashes join, as for paths; a URL is the same on every machine."""
    url = location_of("s3://bucket/set")
    assert str(url / "10x/train-000000.tar") == "s3://bucket/set/10x/train-000000.tar"
    assert resolved(url) == url
    assert resolved(Path("set")) == Path.cwd() / "set"


@pytest.mark.parametrize(
    "given", ["s3://KEY:hush@bucket/set", "az://c/set?sig=hush", "sftp://ada:hush@host/set"]
)
def test_a_secret_in_a_url_is_refused_and_not_repeated(given):
    """A password or a signature in a URL is refused by a message that does not hold it, in a configuration too."""
    for refused in (
        lambda: location_of(given),
        lambda: TeacherConfig(shards=given, out="run"),
    ):
        with pytest.raises(UsageError, match="credentials by the environment") as caught:
            refused()
        assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("ftp://host/set", r"ftp:// is not read; give a local folder or one of s3://"),
        ("s3://", "names no bucket"),
    ],
)
def test_a_url_that_cannot_be_read_is_refused(given, said):
    """Another scheme, and a URL without a bucket, are refused with what can be given."""
    with pytest.raises(UsageError, match=said):
        location_of(given)


def test_a_run_is_not_written_to_a_url():
    """--out takes folders alone: a path would make a folder called 's3:' of it."""
    with pytest.raises(ValueError, match="not to a URL"):
        TeacherConfig(shards="set", out="s3://bucket/run")


def test_where_a_set_lies_is_no_part_of_what_decides_the_weights():
    """A run may be resumed from the URL of the set that it was begun with in a folder; the record shows the URL."""
    local, remote = (TeacherConfig(shards=shards, out="run") for shards in ("set", "s3://bucket/set"))
    assert local.record == remote.record
    assert remote.other_settings["shards"] == "s3://bucket/set"
