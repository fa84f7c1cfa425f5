"""Jobs in, their time, memory and arithmetic out, before the first hour is spent.

Reading order: ``memory`` (a training step on shapes alone), ``speed`` (a few seconds of real work), ``cost`` (a run),
``dry_run`` (the table).
"""
