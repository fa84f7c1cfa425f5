"""slideprep: whole-slide histology images to verified WebDataset shards at several magnifications."""

__version__ = "0.1.0"
