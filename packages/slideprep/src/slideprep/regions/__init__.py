"""An opened slide in, its regions out: where they lie, and their images at every magnification.

Reading order: ``settings`` (what decides regions and pixels), ``find`` (boxes of tissue or annotations), ``layout``
(a box that nests at every magnification), ``scan`` (all that a plan needs to know of a slide), ``pixels`` (a region
to rows of its images), ``images`` (rows to encoded images), ``quality`` (what those rows say of focus, ink, folds and
bubbles), ``extraction`` (one slide's regions, one after the other), ``extract`` (from Python), ``fast`` (what a
coarser level would change).
"""
