"""What can go wrong with a run as a whole; trouble in a shard set is a ShardError (:mod:`kdtrain.shards.error`)."""


class UsageError(Exception):
    """The command, its options or its files cannot be used; found before any work (exit code 2)."""


class TrainingError(Exception):
    """A run had to stop: a loss that is no number, memory that does not suffice (exit code 1)."""


class NotFiniteError(TrainingError):
    """What a network says is NaN or infinite; taken for an answer it would be the first class."""
