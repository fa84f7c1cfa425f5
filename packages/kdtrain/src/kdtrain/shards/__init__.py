"""A shard set's folder or address in, checked samples out: the reader's half of shards/SHARD_FORMAT.md.

Strict: nothing is unpickled, an unknown member is an error, and every error names the rule that is broken.

Reading order: ``error`` (a broken rule), ``locations`` (where a set lies), ``models`` (index.json), ``index`` (a folder
to a checked index), ``ustar`` and ``tar`` (one archive), ``sample`` (members to pixels and label), ``remote`` and
``cache`` (shards behind an address), ``open_tars`` (the tars of a set, wherever they lie).
"""
