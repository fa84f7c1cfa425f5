"""Planned shards in, tars and their records out: one task a shard, on whatever machine.

Reading order: ``job`` (what a task is told), ``memory`` (what it needs), ``shard`` (the task itself), ``faults`` (a
slide that brings its worker down), ``progress`` (what a person sees), ``write`` (all shards, the largest first).
"""
