"""Tables and figures in, files for a paper or a spreadsheet out: ``csv`` and ``latex``."""
