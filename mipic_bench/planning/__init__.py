"""What is asked for becomes cells, each of them done, pending, stale, failed or skipped, and for what reason.

`asking.py` makes a `Request` (`request.py`) of names and defaults; `plan.py` makes its cells, with `changes.py` for what is
no longer the same, `estimate.py` for how long it will take and `official.py` for tasks that mteb scores itself.
"""
