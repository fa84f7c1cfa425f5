"""A slide, what the network said of it, and where it looked: one HTML page that needs no network.

Reading order: ``model`` (what a page shows), ``tiles`` (images cut into tiles of several resolutions), ``scales``
(numbers to colours), ``data`` (what the page's script reads), ``build`` (the page).
"""
