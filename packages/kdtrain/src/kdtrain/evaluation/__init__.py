"""A trained network and a labelled split in, numbers with their intervals out.

Reading order: ``predict_split`` (probabilities of every sample), ``predictions`` (what was said, by slide and
patient), ``class_names`` (labels of others, by name), ``metrics`` (confusion and ranks to numbers), ``bootstrap``
(their intervals), ``temperature`` (a network less sure), ``reliability`` (how far they may be believed),
``estimates`` (numbers with intervals as JSON), ``notes`` (what must be known before they are read), ``record``
(metrics.json), ``probe`` (features in the place of probabilities), ``calibration`` (calibration.json), ``subject`` (a
run on a split, asked), ``evaluate`` (``kdtrain evaluate``), ``probing`` (``kdtrain evaluate --probe``), ``calibrate``
(``kdtrain calibrate``), ``compare`` (two networks on the same samples).
"""
