"""Level-0 pixels in, encoded images out: every magnification from one reading, by Lanczos, in bounded memory.

Pure but for the files that the encoders write. The same bytes on every processor.

Reading order: ``resample`` (strips of level 0 to rows of every image), ``jpeg_strips`` (a JPEG, strip by strip),
``codec`` (rows to a file, a file to pixels), ``sums`` (what the set's colour statistics are made of), ``vector_code``
(small loops in the processor's own code, which filters and sums use) with ``vector_values`` (what they calculate with).
"""
