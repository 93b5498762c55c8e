"""The study's pages and its baseline are what its rows say, cell for cell."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.skipif(
    not (ROOT / "results" / "study" / "packed.parquet").is_file(), reason="an installed package has no study beside it"
)


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "tests" / "study" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_pages_show_what_the_rows_say():
    findings = script("findings")
    made = findings.made()
    shown = [table for page in findings.PAGES for table in findings.marked(page.read_text(encoding="utf-8"))]
    assert {name for name, _ in shown} == set(made)
    assert [name for name, table in shown if table != made[name]] == []


def test_an_interval_in_the_prose_stands_in_a_table():
    findings = script("findings")
    for page in findings.PAGES:
        text = page.read_text(encoding="utf-8")
        shown = "".join(table for _, table in findings.marked(text))
        prose = re.sub(r"<!-- (\w+) -->.*?<!-- /\1 -->", "", text, flags=re.DOTALL)
        quoted = [" ".join(number.split()) for number in re.findall(r"[+−]?\d+\.\d\s(?:\[[^\]]+\]|±\s\d+\.\d)", prose)]
        assert quoted or page.name != "FINDINGS.md"
        assert [number for number in quoted if number not in shown] == [], page.name


def test_the_baseline_holds_the_means_of_the_rows():
    reference = script("reference")
    made = reference.reference(reference.FOLDER).to_csv(index=False, lineterminator="\n")
    assert reference.FILE.read_text(encoding="utf-8") == made


def test_the_report_is_of_the_packed_rows():
    """Rows that lie beside the packed ones on the machine that made the report must not get into it."""
    rows = pd.read_parquet(ROOT / "results" / "study" / "packed.parquet", columns=["run"])
    told = pd.read_csv(ROOT / "reports" / "study" / "tables" / "runs.csv", dtype=str)
    assert set(told["run"]) == set(rows["run"])
