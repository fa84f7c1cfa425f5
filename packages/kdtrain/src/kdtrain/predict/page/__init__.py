"""A slide, what the network said of it, and where it looked: one HTML page that needs no network.

Reading order: ``tiles`` (what a page shows, and its images cut into tiles of several resolutions), ``words`` and
``glossary`` (what stands in it as text), ``trust`` (what is said before the answer), ``data`` (what its script reads),
``build`` (the page).
"""
