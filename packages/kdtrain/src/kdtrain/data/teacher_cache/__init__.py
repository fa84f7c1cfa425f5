"""A cache's folder in, the teacher's outputs for the sample at hand out (shards/TEACHER_CACHE.md): the reading half.

The writing half is in :mod:`kdtrain.phases`, where the teacher computes.

Reading order: ``document`` (cache.json), ``record`` (a sample's), ``opening`` (a folder, checked), ``view`` (a view's
tensors and their bytes), ``tar`` (the archive, written and walked), ``binding`` (which cache fits which run),
``reader`` (a view for a sample).
"""
