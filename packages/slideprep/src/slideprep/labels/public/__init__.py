"""What a public data set says of its slides in, labels.csv out; nothing is downloaded, and no slide is opened.

Pure functions of names and tables but for reading the tables and writing the result.

Reading order: ``barcode`` (what a TCGA name says), ``sheet`` (tables as people download them), ``sheet_keys`` (what a
row of one is about), ``classes`` (the class of a slide), ``derived`` (labels.csv, what was left out and why),
``tcga_files`` (the slides that are wanted), ``tcga``, ``camelyon16``.
"""
