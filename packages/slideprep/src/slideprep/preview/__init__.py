"""What is known of a set in, preview.html out: the page that a person looks at before training for days.

Reading order: ``model`` (what the page shows), ``tally`` (what it says of all slides), ``card`` (one slide), ``page``.
"""
