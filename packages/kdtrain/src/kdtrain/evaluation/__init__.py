"""A trained network and a labelled split in, numbers with their intervals out.

Reading order: ``predict_split`` (probabilities of every sample), ``predictions`` (what was said, by slide and patient),
``metrics`` (confusion and ranks to numbers), ``bootstrap`` (their intervals), ``notes`` (what must be known before they
are read), ``record`` (metrics.json), ``probe`` (features in the place of probabilities), ``evaluate`` (``kdtrain
evaluate``), ``compare`` (two networks on the same samples).
"""
