"""Folders of runs in, groups of comparable runs with their scores out.

Reading order: ``run`` (one evaluated run), ``sweep_file`` (sweep.json), ``folds`` (the runs of all folds as one),
``collect`` (all runs that may be compared), ``groups`` (runs that differ in nothing but the seed), ``scoring`` (numbers
with intervals), ``class_curves`` (ROC and precision-recall), ``probabilities`` (how far these may be believed),
``results`` (who is the teacher, who the baseline), ``shapes`` (what the networks are), ``front`` (which of them are
worth their price), ``shard_set`` (where their samples lie).
"""
