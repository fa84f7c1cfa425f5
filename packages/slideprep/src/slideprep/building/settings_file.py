"""A YAML file in, the settings that it names out, unchecked: what ``--config`` takes.

Numbers are those that the options take. YAML itself would make 5 of ``0_5``, 8 of ``010`` and 90 of ``1:30``; here such
values stay texts, which the settings then refuse.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from slideprep.errors import UsageError
from slideprep.storage.places import local_path

_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_WHOLE = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,39})\Z")
_REAL = re.compile(r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]{1,3})?\Z")


class _Loader(yaml.SafeLoader):
    """Takes for a number what people write as one."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's name
        first: [(tag, pattern) for tag, pattern in resolvers if tag not in _NUMBERS]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_Loader.add_implicit_resolver(_NUMBERS[1], _REAL, list("-+.0123456789"))
_Loader.add_implicit_resolver(_NUMBERS[0], _WHOLE, list("-+0123456789"))


def read_settings(path: Path) -> dict[str, Any]:
    """The settings of a file, by field name.

    Raises:
        UsageError: It cannot be read, is not YAML, or is no mapping of names to values.
    """
    try:
        local_path(path)
    except ValueError as error:
        raise UsageError(f"--config {error}") from None
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--config {path} cannot be read: {error}") from None
    except yaml.YAMLError as error:
        raise UsageError(f"--config {path} is not YAML: {error}") from None
    except RecursionError:
        raise UsageError(
            f"--config {path} is nested too deeply; it must map settings to values, such as 'mpp: 0.25'"
        ) from None
    except ValueError as error:  # a date that there is not
        raise UsageError(f"--config {path} holds a value that YAML cannot read: {error}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UsageError(f"--config {path} must map settings to values, such as 'magnifications: [10, 1.25]'")
    return {str(key).replace("-", "_"): value for key, value in content.items()}
