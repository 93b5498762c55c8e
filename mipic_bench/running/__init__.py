"""Cells become rows: one cell from top to bottom, and a sweep of many that survives what happens to one of them.

Start at `run.py`, the story of one cell: `views.py` gives it the vectors that are scored, `record.py` its provenance
(`environment.py`: of the machine).
`sweep.py` runs many: `engines.py` says where, `attempts.py` is one try at one of them, `stopping.py` heeds Ctrl-C,
`progress.py` is what the user sees meanwhile, and `outcome.py` what came of it.
"""
