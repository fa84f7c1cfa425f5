"""Scored groups in, the tables of a report out.

Reading order: ``cells`` (numbers as a reader sees them), ``results`` (every metric, and differences), ``classes``
(each by itself), ``seeds``, ``folds`` (likewise), ``probabilities`` (how far they may be believed), ``data`` (what is
in which split), ``cost`` (time, computation, settings), ``shapes`` (every shape by its price).
"""
