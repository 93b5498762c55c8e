"""The results folder: rows and provenance in files that are there whole or not at all.

`rows.py` says what a row is, `commit.py` how a file is written, `folder.py` what is in a results folder, `packed.py` and
`merge.py` how many runs become one file. `locks.py` and `failures.py` are what processes tell each other there.
"""
