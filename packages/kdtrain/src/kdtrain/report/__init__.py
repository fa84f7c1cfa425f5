"""``kdtrain report``: runs in, one self-contained HTML page out, with every table as CSV and LaTeX.

Reading order: ``model`` (what a report consists of), ``runs`` (folders to scored groups), ``tables``, ``plots``,
``class_charts``, ``shape_charts`` and ``probability_charts`` (what is drawn), ``gallery`` (what is looked at),
``answer`` and ``cautions`` (what is said first), ``build`` (runs to a report); then ``figures`` (charts to SVG),
``page`` (the HTML), ``files`` (CSV and LaTeX), ``write`` (a report to files); ``validation`` (a bundle on
others' labels, as a page of its own).
"""
