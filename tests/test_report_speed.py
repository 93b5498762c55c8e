"""A report over a million rows: time and memory. Run it alone (`-m slow`): beside other work its time means nothing."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest
import synthetic

TASKS = {
    "sts": tuple(f"s{i}" for i in range(6)),
    "classification": tuple(f"c{i}" for i in range(4)),
    "pair": tuple(f"p{i}" for i in range(4)),
    "retrieval": ("r1", "r2", "r3"),
}
BUILD = """
import sys, time
from pathlib import Path
import pandas as pd
sys.path.insert(0, sys.argv[1])
import synthetic
from mipic_bench import reporting
rows = pd.read_parquet(sys.argv[2])
records = synthetic.provenance(rows.drop_duplicates(["run", "task"]))
start = time.perf_counter()
reporting.build(rows, records, Path(sys.argv[3]))
print(time.perf_counter() - start)
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_million_rows_take_under_20_seconds_and_2_gigabytes(tmp_path):
    """8 methods x 5 seeds x 3 backbones x 2 corpora x 17 tasks x 2 metrics x 42 budgets x 3 precisions."""
    rows = synthetic.rows(
        methods=(
            "full",
            "mrl",
            "2d-mrl",
            "mipic",
            "mipic-no-sia",
            "mipic-no-pic",
            "mipic-no-cka",
            "mipic-no-attention",
        ),
        seeds=range(5),
        backbones=("minilm", "bert-base-uncased", "bge-m3"),
        corpora=("toy", "wiki"),
        tasks=TASKS,
        precisions=("float32", "int8", "binary"),
    )
    assert len(rows) > 1_000_000
    rows.to_parquet(tmp_path / "rows.parquet")
    here = str(Path(__file__).parent)
    command = [sys.executable, "-c", BUILD, here, str(tmp_path / "rows.parquet"), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds = float(done.stdout.split()[-1])
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20  # GiB, of the largest process
    print(f"{len(rows)} rows: {seconds:.1f} s, {peak:.2f} GiB in the largest process")
    assert seconds < 20
    assert peak < 2
