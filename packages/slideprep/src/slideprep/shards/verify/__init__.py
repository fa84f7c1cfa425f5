"""A shard set in, every fault of it out, by the rules of shards/SHARD_FORMAT.md.

Reading order: ``report`` (a fault), ``index`` (F01 to F06), ``tar`` (one tar by itself), ``image`` (one image),
``statistics`` (F29), ``samples`` (what ties samples to each other), ``verify`` (all of it).
"""
