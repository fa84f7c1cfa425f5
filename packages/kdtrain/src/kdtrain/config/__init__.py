"""Options and YAML in, checked settings out: one frozen model for each phase.

The same names stand on the command line, in a file and in a run's record.

Reading order: ``common`` (what all phases share), ``yaml_files`` (what a person wrote, as plain values), ``problems``
(what is said of a value that is refused), ``phases`` (each phase's own, and how they are loaded).
"""
