"""The command line: options to settings, one call, an exit code; nothing is computed here.

Reading order: ``streams``, ``exit_codes``, ``docstrings``, ``numbers`` and ``options`` (settings to options), ``main``
(the commands of the phases), ``evaluate``, ``sweep``, ``export``, ``predict`` and ``predicted`` (the others, and what
is said of predictions), ``measured`` (the table of metrics), ``summary`` (the last screen of a run).
"""
