"""labels.csv and the slides in, patients in splits out: who is trained on, who is tested on, and who must not be.

Pure and seeded but for reading the table and writing pseudonyms: the same whatever order the slides come in.

Reading order: ``alike`` (names that are probably one), ``columns`` and ``table`` (labels.csv), ``match`` (rows to
slides, patients, classes), ``split_plan`` (how patients are to be shared out), ``apportion`` (whole patients over
splits), ``leaks`` (the same image, or the same patient, in two splits), ``splits`` (which patient goes where),
``split_table`` and ``split_warnings`` (what a person should see), ``pseudonyms``; ``public`` makes labels.csv of what
public data sets say of their slides.
"""
