"""Paths and addresses: told apart, joined, and never with a password."""

from __future__ import annotations

from pathlib import Path

import pytest

from slideprep.errors import UsageError
from slideprep.storage.places import Url, local_path, place


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("slides/a.svs", Path("slides/a.svs")),
        ("C:/slides", Path("C:/slides")),
        ("file:///data/set", Path("/data/set")),
        ("s3://bucket/set/", Url("s3://bucket/set")),
        ("abfs://container@account.dfs.core.windows.net/set", Url("abfs://container@account.dfs.core.windows.net/set")),
    ],
)  # fmt: skip
def test_what_has_a_protocol_is_an_address(given: str, expected: Path | Url) -> None:
    """A path stays a path, file:// means one, and anything else with :// is an address."""
    found = place(given)
    assert (type(found) is type(expected), found) == (True, expected)


def test_an_address_is_joined_and_taken_apart_like_a_path() -> None:
    """Folder, name and suffix are those of the last part."""
    url = Url("s3://bucket/slides") / "case 7.svs"
    assert (url, url.parent, url.name, url.suffix, url.protocol) == (
        "s3://bucket/slides/case 7.svs", "s3://bucket/slides", "case 7.svs", ".svs", "s3",
    )  # fmt: skip
    assert url.resolve() is url


def test_a_password_in_an_address_is_refused_and_not_repeated() -> None:
    """It would end up in logs and in the shell's history."""
    with pytest.raises(UsageError, match=r"address of host/set holds a password") as refusal:
        place("s3://me:hunter2@host/set")
    assert "hunter2" not in str(refusal.value)


def test_where_only_a_local_path_will_do_an_address_is_refused() -> None:
    """Else a folder called 's3:' would be made here."""
    assert local_path("masks") == "masks"
    for given in ("s3://bucket/masks", Path("s3://bucket/masks")):
        with pytest.raises(ValueError, match=r"s3:/+bucket/masks is an address"):
            local_path(given)


@pytest.mark.parametrize("given", ["s3://", "gs:///"])
def test_an_address_without_a_bucket_is_refused(given: str) -> None:
    """What is left of it would be shown as "s3:" and looked for in vain."""
    with pytest.raises(UsageError, match="names no bucket"):
        place(given)


@pytest.mark.parametrize("given", ["a\0b", "s3://bucket/a\0b", "", 5, None])
def test_what_no_path_can_be_is_refused(given: object) -> None:
    """The operating system would refuse it in its own words, deep inside."""
    with pytest.raises(UsageError, match="is no place; give a path"):
        place(given)


def test_a_local_path_holds_no_nul() -> None:
    """YAML and tables can."""
    with pytest.raises(ValueError, match="is no path"):
        local_path("a\0b")
