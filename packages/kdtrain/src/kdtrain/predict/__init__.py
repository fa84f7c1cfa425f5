"""A bundle and slides in, probabilities out.

Reading order: ``prediction`` (what comes out), ``slides`` (the only import of slideprep), ``outside`` (what lies beyond
the training data), ``slide_task`` (one slide), ``run`` (many), ``results`` (files), ``api`` (from Python).
"""
