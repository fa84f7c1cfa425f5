"""The command line: options to a configuration, one call, an exit code; nothing is computed here.

Reading order: ``exit_codes``, ``paths`` and ``options`` (the fields of a configuration as options), ``main`` (the
commands), ``grow``, ``inspect`` and ``synthesize`` (commands with more to say), ``summary`` (the last screen of a
build).
"""
