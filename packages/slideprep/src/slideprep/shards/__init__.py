"""The writer's half of the contract (shards/SHARD_FORMAT.md): what a set is, its tars, and the proof that it is one.

Reading order: ``models`` (a sample's JSON and index.json), ``format`` (names, numbers, keys), ``tar`` (members to a
tar), ``tar_copy`` (a tar without some samples), ``records`` (what a build remembers of a shard), ``grouped``
(failures as lines), ``journal`` (how files of a set are exchanged so that a kill loses nothing), ``absent`` (what to
say where there is no index), ``verify`` (every rule on every byte).
"""
