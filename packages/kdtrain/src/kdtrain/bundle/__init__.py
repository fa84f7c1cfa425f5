"""A trained network as one folder that stands alone: what ``kdtrain export`` writes and ``kdtrain predict`` reads.

Reading order: ``document`` (bundle.json), ``stain`` and ``training_data`` (what the network was trained on),
``onnx_export`` (the only import of onnx), ``card`` (README.md), ``export`` (a run to a bundle), ``runtime`` (images to
logits), ``load`` (a bundle from Python).
"""
