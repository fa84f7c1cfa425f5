"""Where a network looked: heat maps of a region, and files and a page that show them.

Reading order: ``heat_map`` (a map and where its cells lie), ``gradcam`` and ``occlusion`` (two ways to make one),
``explain`` (both, for one image), ``tissue`` and ``agreement`` (whether they agree); then what shows them: ``model``
and ``picture`` (what is shown), ``colours`` and ``scale`` (numbers to colours), ``paint``, ``text``, ``legend`` and
``overlay`` (a PNG), ``geojson`` and ``ome_tiff`` (for QuPath), ``page`` (the HTML page).
"""
