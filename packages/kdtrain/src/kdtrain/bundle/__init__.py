"""A trained network as one folder that stands alone: what ``kdtrain export`` writes and ``kdtrain predict`` reads.

Reading order. What a bundle is: ``entries`` and ``document`` (bundle.json), ``runtime`` (images to logits). What the
network was trained on: ``stain`` and ``training_data`` (pure), ``measure`` (a shard set). Making one: ``source`` (a run
and what belongs to it), ``onnx_export`` (the only import of onnx), ``agreement`` (ONNX against PyTorch), ``describe``,
``card`` (README.md), ``export``. Using one: ``load``, ``runtime_onnx``, ``runtime_pytorch``.
"""
