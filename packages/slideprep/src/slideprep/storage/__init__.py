"""Where files lie: an address in, a folder out that can be read, written to whole or not at all, and locked.

Whatever asks for a file asks here, whether it lies on a disk or in an object store; ``remote`` alone imports fsspec.

Reading order: ``places`` (a path or an address), ``files`` (written whole or not at all), ``remote`` (objects by their
addresses), ``store`` (what every folder promises), ``local`` and ``url`` (its two kinds), ``url_lock`` (one build at a
time without comparing clocks), ``open`` (from a place to its store), ``access`` (what a worker is given to get there).
"""
