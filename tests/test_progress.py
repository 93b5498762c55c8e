"""What is said of the time left where work goes on outside a terminal."""

import re

from mipic_bench.running import progress


def said(monkeypatch, capsys, updates):
    """Return (done, seconds left) of each line, for updates of (time, done) out of 1000."""
    clock = iter([0.0, *(time for time, _ in updates)])
    monkeypatch.setattr(progress, "monotonic", lambda: next(clock))
    with progress.Reporter().bar("train") as update:
        for _, done in updates:
            update(done, 1000, "")
    return [tuple(map(int, found)) for found in re.findall(r"train (\d+)/1000 +(\d+) s left", capsys.readouterr().err)]


def test_time_left_is_by_the_pace_of_this_process(monkeypatch, capsys):
    fresh = said(monkeypatch, capsys, [(0, 0), (20, 10), (40, 20)])
    resumed = said(monkeypatch, capsys, [(30, 500), (50, 510), (70, 520)])
    assert fresh == [(10, 1980), (20, 1960)]
    assert resumed == [(510, 980), (520, 960)]
