"""A bundle and slides in, probabilities out, and where the network looked; or its vectors, for other tools.

Reading order: ``answers`` (what is asked and what is said), ``slides``, ``remedies`` and ``read_images`` (slides by
slideprep), ``task`` (one slide), ``explain`` (heat maps and their files), ``page`` (the HTML page), ``explaining`` (all
that shows one slide), ``dicom`` (class maps for hospitals), ``results`` (the folder), ``run`` (many slides),
``bundle`` (one slide, from Python), ``vectors`` (feature vectors as h5 files).
"""
