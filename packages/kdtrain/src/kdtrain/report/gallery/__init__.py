"""What a network said and where its shards lie in, the surest of its errors to look at out.

Reading order: ``surest`` (which samples), ``thumbnails`` (their images out of the shards), ``cards`` (where the shard
set's preview shows their slides), ``build`` (the gallery; what it leaves out, and why).
"""
