"""The command line: options to settings, one call, an exit code; nothing is computed here.

Reading order: ``exit_codes``, ``options`` (settings to options), ``main`` (the commands of the phases), ``evaluate``,
``sweep``, ``export`` and ``predict`` (the others), ``summary`` (the last screen of a run).
"""
