"""An overview or an annotation file in, boxes on level 0 out: where tissue is, or what a pathologist drew.

Also a region's image in, and out how good its tissue is to see.

Pure: arrays and text in, values out; no slide is opened. Lengths of the detector are micrometres.

Reading order: ``background`` and ``padding`` (what is glass, what is nothing), ``settings`` and ``stain`` (how much
tissue is in a pixel), ``artefacts`` (edges), ``ink`` (strokes), ``bubbles`` (of air, whose rims are no ink) and
``under_ink`` (the tissue there), ``left_out`` (what is dropped), ``auto`` (our detector), ``tissueloc`` (the published
algorithm), ``boxes`` (from a mask to boxes, for both); ``focus`` and ``quality`` (how good a region is to see);
``annotations`` (outlines and what a build asks of
them), ``geojson`` and ``imagescope`` (the two formats), ``annotation_files``, ``annotation_checks`` (what a person
should know of them).
"""
