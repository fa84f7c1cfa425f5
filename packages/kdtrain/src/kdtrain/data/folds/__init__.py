"""A shard set in, K folds of its patients out, and the set as one of them sees it: K-fold cross-validation by patient.

Reading order: ``assign`` (patients to folds: pure), ``document`` (folds.json), ``scan`` (whose sample is whose, and the
colours of every fold), ``view`` (a fold as an index with splits of its own: pure), ``opening`` (a configuration or a
run to the index that it reads).
"""
