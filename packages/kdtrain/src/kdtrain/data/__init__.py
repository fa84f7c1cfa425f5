"""A checked index in, batches on the device out: every sample exactly once an epoch, over all ranks and workers.

Reading order: ``plan`` (which sample is read when, and by whom: pure), ``samples`` (a place to a decoded sample),
``loader`` (places to samples, in worker processes), ``device_decode`` (JPEG decoded on the GPU instead), ``stream``
(groups of samples, one a step), ``sets`` (what a run trains on and validates on), ``inputs`` (samples to what a network
takes), ``folds`` (a set's patients in K folds, and the set as one of them sees it), ``teacher_cache`` (a teacher's
outputs instead of the teacher), ``dataset`` (samples by number, for other programs).
"""
