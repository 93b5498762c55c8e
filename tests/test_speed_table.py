"""The README's speed table is what the benchmarks wrote, row for row."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.skipif(not (ROOT / "README.md").is_file(), reason="an installed package has no README beside it")
def test_the_readme_shows_the_last_measurements():
    spec = importlib.util.spec_from_file_location("table", ROOT / "tests" / "speed" / "table.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    rows = module.measured(ROOT / "results" / "speed")
    assert len(rows) > 20 and {row["met"] for row in rows} <= {"yes", "no"}
    shown = (ROOT / "README.md").read_text(encoding="utf-8").split(module.BEGIN)[1].split(module.END)[0]
    assert shown == module.table(rows)
