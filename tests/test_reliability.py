"""The reliability scripts, each as its one command: kills, several processes, a dask cluster."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

SCRIPTS = Path(__file__).parent / "reliability"


@pytest.mark.parametrize(
    "words", [("kills.py", "--kills", "10"), ("processes.py",), ("cluster.py",)], ids=lambda words: words[0]
)
def test_no_cell_is_lost_doubled_or_half_written(words):
    if words[0] == "cluster.py":
        pytest.importorskip("distributed")
    command = [sys.executable, str(SCRIPTS / words[0]), *words[1:]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
