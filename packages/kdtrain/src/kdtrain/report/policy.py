"""What a page made here may do in a browser: nothing but its own style and script."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256


def content_policy(style: str, script: str) -> str:
    """A Content-Security-Policy under which nothing is loaded, and nothing runs but what is named by its hash.

    Args:
        style: Text of the page's style element.
        script: Text of its script element.
    """
    return (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(source: str) -> str:
    return "sha256-" + b64encode(sha256(source.encode("utf-8")).digest()).decode("ascii")
