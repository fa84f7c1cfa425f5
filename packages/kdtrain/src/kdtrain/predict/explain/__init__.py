"""Where a network looked: heat maps of a region, and the files that show them.

Reading order: ``heat_map`` (a map and where its cells lie), ``gradcam`` and ``occlusion`` (two ways to make one),
``regions`` (both, for one image), ``agreement`` (whether they say the same); then what shows them: ``picture`` (maps
laid over the slide), ``colours`` (numbers to colours), ``overlay`` and ``overlay_parts`` (a PNG), ``geojson`` and
``ome_tiff`` (for QuPath).
"""
