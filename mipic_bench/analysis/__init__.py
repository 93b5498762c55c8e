"""Rows become answers: which rows count, quality at every budget, tables, and numbers beside published ones.

`selection.py` and `quality.py` make what tables, figures and reports show; the statistics are `mipic_bench.stats`.
"""
