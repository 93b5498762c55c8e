"""What is asked for becomes cells, each of them done, pending, stale, failed or skipped, and for what reason.

`asking.py` makes a `Request` (`request.py`) of names and defaults; `plan.py` makes its cells, with `changes.py` for what is
no longer the same, `estimate.py` for how long it will take and `leakage.py` for what was trained on and is scored. `parsing.py`
reads the words of options, `device.py` says where to compute, and `offline.py` keeps the process off the hub.
"""
