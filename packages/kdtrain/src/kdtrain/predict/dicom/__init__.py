"""Class maps as DICOM, for hospitals: what the network says of every place of a DICOM slide, in the slide's own study.

In: a slide's DICOM header, and the network's feature map of every region. Out: parametric maps of the classes'
probabilities, and a segmentation of the most probable class. All cover the slide's whole pixel matrix from the same
corner, because the viewers that hospitals have lay a map over its slide by that corner and by the pixels' spacing.

Reading order: ``class_map`` (probabilities of places, and where they lie), ``header`` (what of the slide's file is
needed), ``asked`` (whether maps can be written at all), ``source`` (that header understood), ``labels`` (names of
classes as DICOM takes them), ``slide_map`` (all that is known of a map, and its UIDs), ``objects`` (the files),
``maps`` (all of it, for a slide). Files are made by highdicom, in ``objects`` alone.
"""
