"""An image and a training set's stain in, the image in that stain out. NumPy alone: prediction needs no PyTorch for it.

Reading order: ``density`` (optical density, tissue, the scale of an estimate), ``macenko`` and ``reinhard`` (the two
methods: pure functions of densities and grey levels), ``target`` (a training set's stain, and its record),
``normalise`` (an image).
"""
