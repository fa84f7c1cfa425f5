"""What is known of a set in, preview.html out: the page that a person looks at before training for days.

Reading order: ``model`` (what the page shows), ``tally`` (what it says of all slides), ``words`` (how numbers are put),
``page``, then its templates ``assets/page.html`` and ``assets/card.html`` (one slide).
"""
