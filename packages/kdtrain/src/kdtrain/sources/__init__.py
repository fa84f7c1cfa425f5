"""Teachers that are no run of kdtrain: a sample and its draws in, one teacher's view a draw out.

Reading order: ``source`` (what a teacher of any kind is asked, and what is recorded of it), ``laying`` (vectors with
places on a region in, a map of the student's size out).
"""
