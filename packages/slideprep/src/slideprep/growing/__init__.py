"""Change a finished set: add slides, remove slides, give slides another label; whole or not at all.

Read in this order: ``state`` and ``current`` (the set as it is), ``shown`` (names and pseudonyms), ``assign`` (where
new slides go), ``tar_copy`` and ``rewrite`` (shards written again), ``staging`` (the journal: how files are exchanged),
``add``, ``remove`` and ``relabel`` (the operations), ``report`` (what a person reads), ``command`` (the command line).
"""
