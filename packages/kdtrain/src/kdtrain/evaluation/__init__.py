"""A trained network and a labelled split in, numbers with their intervals out.

Reading order: ``predict_split`` (probabilities of every sample), ``predictions`` (what was said, by slide and patient),
``metrics`` (confusion and ranks to numbers), ``bootstrap`` (their intervals), ``temperature`` (a network less sure),
``reliability`` (how far they may be believed), ``estimates`` (numbers with intervals as JSON), ``notes`` (what must be
known before they are read), ``record`` (metrics.json), ``calibration`` (calibration.json), ``evaluate`` (``kdtrain
evaluate``), ``calibrate`` (``kdtrain calibrate``), ``compare`` (two networks on the same samples).
"""
