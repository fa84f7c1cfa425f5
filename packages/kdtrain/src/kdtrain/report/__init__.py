"""``kdtrain report``: runs in, one self-contained HTML page out, with every table as CSV and LaTeX.

Reading order: :mod:`~kdtrain.report.model` (what a report consists of), then runs become a report, then a report
becomes files.
"""
