"""What a frozen teacher says of every sample, computed once and read in every epoch (shards/TEACHER_CACHE.md).

Reading order: ``document`` (cache.json and a sample's record), ``opening`` (a folder's), ``view`` (a view's tensors and
their bytes), ``tar`` (the archive, written and walked), ``compute`` (images to views), ``binding`` (which cache fits
which run), ``workspace`` (what of a cache is done), ``writer`` (shards to tars), ``reader`` (a view for the sample at
hand). :mod:`kdtrain.phases.cache_teacher` puts the writing half together.
"""
