"""Strips of level 0 in, rows of the same region at every magnification out.

Reading order: ``lanczos`` (weights along one axis), ``band`` (strips to chunks of columns), ``loops`` (the arithmetic,
compiled), ``filter`` (one image), ``downsample`` (all images of a region).
"""
