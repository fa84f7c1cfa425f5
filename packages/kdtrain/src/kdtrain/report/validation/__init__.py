"""What was measured of a bundle on others' labels in, one HTML page out: does the network hold there?

Reading order: ``read`` (the folder's files), ``shared_classes``, ``verdict`` (the answer in sentences), ``tables`` and
``charts``, ``page``.
"""
