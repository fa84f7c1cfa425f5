"""Losses of micro-batches in, one optimizer update out: the only room that imports DeepSpeed.

Reading order: ``settings`` (what the engine is told), ``launch`` (which rank this is), ``rendezvous`` (how ranks find
each other), ``group`` (what goes into one update), ``learning_rate``, ``precision`` (autocast, loss scale), ``average``
(of the weights), ``state`` (weights and optimizer by name), ``engine``.
"""
