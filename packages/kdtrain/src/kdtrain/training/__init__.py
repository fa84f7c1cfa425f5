"""Groups of samples and a loss in, a trained network in the run's folder out: the one loop of all phases.

Reading order: ``run_folder`` (what was asked for, what came out), ``shape`` (of a network, in words), ``longer``
(more epochs than were asked for), ``micro_batch`` (what a run that was begun keeps of it), ``checkpoints`` (whole or
not there), ``record`` (what a run leaves of itself), ``loggers`` (where its numbers go), ``monitor`` (what a person
sees), ``engine`` (one update through DeepSpeed), ``loop`` (the loop), ``trained`` (a finished run's network).
"""
