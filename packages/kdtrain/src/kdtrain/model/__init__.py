"""An image in, its last feature map and its logits out: the networks, and what they cost.

Reading order: ``resnet`` (the networks), ``init`` (the weights that they start from), ``projector`` (a student's map in
the teacher's channels), ``stain`` (the stain that images are brought into, where they are), ``network`` (how a run
builds and feeds one), ``output_stride`` (which fits the images),
``placing`` (compiled, channels last), ``finite`` (whether weights are numbers), ``flops`` (multiply-adds, memory of a
training step).
"""
