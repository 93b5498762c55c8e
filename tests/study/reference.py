"""The reference study as a baseline: the means over its seeds at the last layer in float32.

python tests/study/reference.py            prints the CSV
python tests/study/reference.py --write    writes baselines/reference_study.csv
"""

import sys
from pathlib import Path

import pandas as pd

from mipic_bench.analysis import baselines

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "results" / "study"
FILE = ROOT / "baselines" / "reference_study.csv"
SOURCE = "mipic-bench/results/study"
LOCATOR = "study.toml, last layer"
BACKBONE, CORPUS = "minilm", "unsup_union"  # and what no corpus trained


def reference(folder: Path) -> pd.DataFrame:
    """Return the numbers of a folder of results that others compare with, in the columns of a baseline."""
    rows = baselines.load([folder / "packed.parquet"])
    rows = rows[(rows["backbone"] == BACKBONE) & rows["corpus"].isin(["", CORPUS]) & (rows["precision"] == "float32")]
    layer = rows["layer"].astype(int)
    rows = rows[layer == layer.max()]
    rows = rows.assign(layer=baselines.LAST, source=SOURCE, locator=LOCATOR, value=rows["value"].round(6))
    order = ["family", "task", "metric", "method", "dim"]
    return rows.sort_values(order, kind="stable")[list(baselines.COLUMNS)]


def main() -> None:
    """Print the CSV, or write it."""
    text = reference(FOLDER).to_csv(index=False, lineterminator="\n")
    if "--write" in sys.argv[1:]:
        FILE.write_text(text, encoding="utf-8")
    else:
        print(text, end="")


if __name__ == "__main__":
    main()
