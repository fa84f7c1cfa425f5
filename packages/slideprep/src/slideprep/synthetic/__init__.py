"""Synthetic H&E-like slides, for demonstrations and tests; every output says that it is synthetic.

Reading order: ``recipe`` (what the classes differ in), ``noise`` (random fields), ``tissue`` (layout of a
piece), ``population`` (where its cells lie), ``cells`` (what they look like), ``lesion`` (a patch of another
class, and where it lies), ``piece`` (its stain), ``glass`` (from stain to light; pen and dust), ``slide`` (one file),
``dataset`` (a folder with labels).
"""
