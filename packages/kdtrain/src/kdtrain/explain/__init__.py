"""Where a network looked: heat maps of a region, and files and a page that show them.

Reading order: ``heat_map`` (a map and where its cells lie), ``gradcam`` and ``occlusion`` (two ways to make one),
``colours`` and ``overlay`` (pictures), ``geojson`` and ``ome_tiff`` (for QuPath), ``page`` (the HTML page).
"""
