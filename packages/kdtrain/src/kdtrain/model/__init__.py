"""An image in, its last feature map and its logits out: the networks, and what they cost.

Reading order: ``resnet`` (the networks), ``init`` (the weights that they start from), ``network`` (how a run builds and
feeds one), ``placing`` (compiled, channels last), ``finite`` (whether weights are numbers), ``flops`` (multiply-adds,
memory of a training step).
"""
