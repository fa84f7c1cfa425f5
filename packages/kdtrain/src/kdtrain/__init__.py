"""kdtrain: resolution-based knowledge distillation for histology images, trained on slideprep shards."""

__version__ = "0.1.0"
