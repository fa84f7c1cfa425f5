"""Change a finished set: add slides, remove slides, give slides another label; whole or not at all.

Reading order: ``current`` (the set as it is), ``incoming`` (slides to be added), ``assign`` (where they go),
``rewrite`` (shards written again), ``change`` (from the set as it is to the set as it will be), ``add``, ``remove`` and
``relabel`` (the operations); ``croissant`` (what its owner says of it, for catalogues).
"""
