"""A chart in, an SVG drawing out.

Reading order: ``axes`` (values to pixels), ``frame`` (the plot area), ``marks`` (how a series looks),
``point_labels``, ``bars``, ``draw`` (a whole chart).
"""
