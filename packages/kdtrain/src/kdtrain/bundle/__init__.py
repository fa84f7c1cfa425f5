"""A trained network as one folder that stands alone: what ``kdtrain export`` writes and ``kdtrain predict`` reads.

Reading order. What a bundle is: ``entries`` and ``document`` (bundle.json), ``runtime`` (images to logits). What the
network was trained on: ``stain`` and ``training_data``. Making one: ``source`` (a run, what belongs to it, what its
shard set holds), ``onnx`` (the graph, held against PyTorch), ``describe``, ``card`` (README.md), ``mlflow_model`` (the
same network for MLflow), ``export``. For QuPath: ``wsinfer`` (config.json and tiles), ``torchscript``, ``tile_cost``
(whole regions against tiles), ``wsinfer_card``, ``wsinfer_export``. Using one: ``files`` (what of a stranger's folder
is read), ``graph_shapes`` and ``graph`` (which ONNX graphs are run), ``load``, ``runtime_onnx``, ``runtime_pytorch``.
Measuring one on others' labels: ``shift`` (how the images differ), ``validation`` (its files), ``evaluate`` (on a shard
set).
"""
