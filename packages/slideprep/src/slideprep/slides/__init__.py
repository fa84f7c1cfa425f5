"""What the user named in, slides out: found, fetched, told apart by their content, opened and read as RGB pixels.

No pixel is resampled here, but for small overviews. Every reader gives the same interface, ``reader.Slide``.

Reading order: ``files`` (a slide and its files), ``dicom`` (which files make one slide), ``listing`` (what lies in a
folder or a store), ``passed_over`` (what of it is named as no slide), ``discover`` (from names to slides), ``fetch``
(from an object store to this machine), ``fingerprint`` (the same slide under another name), ``reader`` (what every
reader promises), ``readers`` (one for each format), ``level_frame`` (how a level lies on level 0), ``overview`` (a
small picture of the whole), ``opened`` (a slide as a person or a program opens it).
"""
