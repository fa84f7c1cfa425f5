"""Teachers that are no run of kdtrain: a sample and its draws in, one teacher's view a draw out.

Reading order: ``source`` (what a teacher of any kind is asked, and what is recorded of it), ``laying`` (vectors with
places on a region in, a map of the student's size out). Then teachers that look at tiles: ``opening`` (--from in, a
teacher out), ``settings`` (how it is asked), ``tiled`` (a region cut, asked about and laid), ``tiles`` (where tiles
lie), ``pixels`` (what a network takes), ``outputs`` (what it says), ``callable`` (a function of Python), ``onnx`` (an
ONNX file) with ``onnx_file`` (whole and in its own folder) and ``onnx_ports`` (which input and outputs), and
``slide_regions`` (regions read from slides). Then features on disk: ``feature_names`` (whose file is whose),
``patch_sizes`` and ``feature_files`` (one h5 file in, vectors and boxes out), ``feature_misfits`` and
``feature_check`` (a folder held against a set), ``features``, the source, and ``feature_writing`` (files for other
tools).
"""
