"""A report in, one HTML page out that needs no network.

Reading order: ``parts`` (what the template is given), ``downloads`` (files as addresses that hold them), ``page``.
"""
