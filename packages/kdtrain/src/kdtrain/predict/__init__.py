"""A bundle and slides in, probabilities out.

Reading order: ``prediction`` (what comes out), ``slides`` and ``read_images`` (the only ones that import slideprep),
``outside`` (what lies beyond the training data), ``slide_task`` (one slide), ``run`` (many), ``results`` (files),
``api`` (from Python).
"""
