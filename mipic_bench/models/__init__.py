"""Models in and out: score one as it is, write one out cut to a budget, measure what its budgets cost.

`evaluating.py` (with `funnels.py`) scores, `export.py` (with `mapping.py` and `model_card.py`) writes, `profiling.py` measures
and `costs.py` keeps what was measured.
"""
