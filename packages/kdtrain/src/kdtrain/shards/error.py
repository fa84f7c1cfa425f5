"""The one error of the shard reader: which rule of SHARD_FORMAT.md is broken, where, why, and what to do."""

from __future__ import annotations

from kdtrain.shards.locations import Location

VERIFY = "run 'slideprep verify' on the folder; it lists every fault"


class ShardError(Exception):
    """A shard set, or a request to it, breaks a rule.

    Attributes:
        rule: Id and name in SHARD_FORMAT.md, such as "F13 member-name"; "request" where the set is sound but
            does not hold what was asked for; "storage" where the way to it is at fault.
        path: The file or folder.
        member: The tar member or the sample's key, where one is to blame.
    """

    def __init__(
        self, rule: str, path: Location | str, reason: str, member: str | None = None, remedy: str = VERIFY
    ) -> None:
        # All of them are arguments of the exception, so that it survives the way from a loader's worker.
        super().__init__(rule, str(path), reason, member, remedy)
        self.rule = rule
        self.path = str(path)
        self.member = member

    def __str__(self) -> str:
        rule, path, reason, member, remedy = self.args
        where = path if member is None else f"{path}, {member!r}"
        return f"{where}: {reason} (rule {rule}); {remedy}"
