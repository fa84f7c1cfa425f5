"""Synthetic H&E-like slides, for demonstrations and tests; every output says that it is synthetic.

Reading order: ``recipe`` (what the classes differ in), ``noise`` (random fields), ``tissue`` (layout of a
piece), ``population`` (where its cells lie), ``cells`` (what they look like), ``lesion`` (a patch of another
class), ``piece`` (its stain), ``stain`` (from stain to light), ``marks`` (pen and dust), ``slide`` (one file),
``truth`` (where lesions lie), ``dataset`` (a folder with labels), ``command``.
"""
