"""Settings in, a finished shard set out: the steps of ``build-shards``, one below the other in ``build``.

Reading order: ``config`` (the settings), ``limits`` (on a region's quality) and ``settings_file`` (where they are in
one), ``prepare`` (what is known before a slide is opened), ``identity`` (what tells a build from any other),
``workspace`` (what lets a build be killed and run again), ``scans`` (slides to regions), ``plan`` (regions to
samples, samples to shards), ``tasks`` (one task a shard), ``finished`` and ``preview`` (what is known at the end),
``croissant`` (the set in the words of catalogues), ``outputs`` (the files that describe the set, index.json last),
``state`` (what a set must remember to be changed), ``notes`` (what each task reads just now), ``build`` (all of it),
``run`` (a build, or the finished set that it finds) and ``check`` (a set verified) as command and script call them.
"""
