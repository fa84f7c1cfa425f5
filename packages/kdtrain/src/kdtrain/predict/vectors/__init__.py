"""A network and slides, or a set, in, vectors with their places on level 0 out: one h5 file a slide, for other tools.

Reading order: ``encoder`` (the network of a run or a bundle), ``places`` (a feature map in, vectors and boxes out),
``seen`` (what is read of a set, or of slides), ``folder`` (what is done, and goes on), ``run``.
"""
