"""The command line: options to a configuration, one call, an exit code; nothing is computed here.

Reading order: ``streams``, ``exit_codes``, ``docstrings``, ``paths`` and ``options`` (the fields of a configuration as
options), ``main`` (the commands), ``grow`` and ``changed`` (a finished set changed, and what is said of it),
``croissant`` (a set described), ``inspect``, ``synthesize``, ``public_sources`` and ``public`` (labels.csv of public
data sets), ``summary`` (the last screen of a build) and ``foreign`` (options that a message names and a command lacks).
"""
