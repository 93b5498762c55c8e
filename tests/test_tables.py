"""Tables: what they hold, how they are printed, and that no text of a user breaks their form."""

import io

import numpy as np
import pandas as pd
import pytest
import synthetic
from rich.console import Console

from mipic_bench.analysis import tables
from mipic_bench.analysis.quality import View
from mipic_bench.analysis.tables import Column, Table, budget_tables


@pytest.fixture(scope="module")
def view():
    return View(synthetic.rows(methods=("pretrained", "mrl", "mipic")))


def test_a_cell_is_the_mean_over_tasks_then_seeds(view):
    rows = synthetic.rows(methods=("pretrained", "mrl", "mipic"))
    table = next(t for t in tables.budget_tables(view) if t.name == "budgets--minilm--toy--sts--mipic")
    own = rows[(rows.method == "mipic") & (rows.metric == "spearman") & (rows.layer == 6) & (rows.dim == 32)]
    by_seed = own.groupby("seed")["value"].mean()
    assert table.frame.loc[table.frame["layer"] == 6, "32"].item() == pytest.approx(by_seed.mean(), abs=1e-12)
    assert table.frame.loc[table.frame["layer"] == 6, "32_seeds"].item() == 3


def test_the_csv_holds_full_precision_and_the_intervals(view):
    table = tables.budget_tables(view)[0]
    read = pd.read_csv(io.StringIO(table.csv()))
    assert list(read.columns[:8]) == ["layer", "8", "16", "32", "64", "128", "256", "384"]
    np.testing.assert_allclose(read["384"], table.frame["384"], rtol=1e-14)
    assert {"384_low", "384_high", "384_seeds"} <= set(read.columns)


def test_seven_widths_with_intervals_fit_eighty_columns(view):
    for table in tables.budget_tables(view):
        text = _terminal(table, 80)
        assert max(len(line.rstrip()) for line in text.splitlines()) <= 80
        assert "…" not in text
    assert "±" in text


def test_more_widths_than_fit_go_below_each_other():
    dims = (8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 320, 384)
    view = View(synthetic.rows(methods=("mipic",), dims=dims, layers=(1, 2)))
    text = _terminal(tables.budget_tables(view)[0], 80)
    assert text.count("layer ") >= 2 and "…" not in text
    for dim in dims:
        assert f" {dim}" in text


def test_widths_that_were_not_trained_are_named():
    frame = synthetic.rows(methods=("mipic",), dims=(8, 12, 16, 24, 384), layers=(6,))
    for trained, told in (((8, 16, 384), "Not trained at: 12, 24."), ((384,), None)):
        text = tables.budget_tables(View(frame, synthetic.provenance(frame, trained)))[0].note
        assert text.endswith(told) if told else "Not trained" not in text


def test_swept_values_have_tables_too_unless_others_are_named():
    view = View(synthetic.rows(methods=("mipic", "mipic-alpha=0.9"), tasks={"sts": ("stsb",)}, layers=(6,)))
    assert [table.title.split(" · ")[1] for table in tables.budget_tables(view)] == ["mipic", "mipic-alpha=0.9"]
    assert len(tables.budget_tables(view, view.methods)) == 1


def test_the_best_cell_stands_out(view):
    table = tables.budget_tables(view)[0]
    ((row, key),) = table.best
    values = table.frame[[column.key for column in table.columns[1:]]]
    assert values[key].iloc[row] == values.max(axis=None)
    assert table.markdown().count("**") == 4  # title and best cell
    assert table.latex().count(r"\textbf{") == 1


def test_one_seed_has_no_interval():
    table = tables.budget_tables(View(synthetic.rows(methods=("mipic",), seeds=(0,))))[0]
    assert "±" not in table.markdown() and "interval" not in table.note


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (0.71234, "score", "71.2"),
        (-0.0123, "score", "−1.2"),
        (0.0012, "difference", "+0.12"),
        (None, "score", "–"),
        (float("nan"), "integer", "–"),
        (12345, "integer", "12,345"),
        (0.0001, "p", "< 0.001"),
        (0.25, "p", "0.250"),
        (1234.5, "number", "1,234"),
        (0.012345, "number", "0.0123"),
        (0.0, "number", "0"),
    ],
)
def test_numbers_are_printed_in_one_way(value, kind, text):
    assert tables.printed({"x": value}, Column("x", "x", kind)) == text


def test_intervals_are_printed_with_their_numbers():
    record = {"x": 0.712, "low": 0.708, "high": 0.716}
    assert tables.printed(record, Column("x", "x", "score", "low", "high")) == "71.2 ± 0.4"
    record["high"] = 0.73
    assert tables.printed(record, Column("x", "x", "score", "low", "high")) == "71.2 [70.8, 73.0]"
    assert tables.printed(record, Column("x", "x", "difference", "low", "high")) == "+71.20 [+70.80, +73.00]"


def test_no_text_of_a_user_breaks_a_table():
    evil = "a|b_c*<script>alert(1)</script>\n\\input{x} 100% & $y$ #1 ~ ^ {z} [k](javascript:x) `t`"
    table = Table(
        "t", evil, pd.DataFrame({"m": [evil], "v": [0.5]}), (Column("m", evil), Column("v", "v", "score")), evil
    )
    markdown, latex = table.markdown(), table.latex()
    assert "<script" not in markdown and "[k]" not in markdown
    row = next(line for line in markdown.splitlines() if line.endswith("| 50.0 |"))
    assert row.replace("\\|", "").count("|") == 3
    assert r"\input" not in latex.replace(r"\textbackslash{}input", "")
    body = latex[latex.index("\\toprule") :]
    assert body.replace(r"\%", "").replace(r"\&", "").count("&") == 2  # one per line: the head and the row
    assert "%" not in latex.replace(r"\%", "")


def _terminal(table, width):
    console = Console(width=width, file=io.StringIO(), force_terminal=False)
    console.print(tables.terminal(table, width))
    return console.file.getvalue()


def test_an_untrained_method_is_not_said_to_be_trained():
    view = View(synthetic.rows(methods=("pretrained", "mrl"), layers=(6,), tasks={"sts": ("stsb",)}))
    titles = [table.title for table in budget_tables(view)]
    assert titles == ["sts · pretrained · minilm, without training", "sts · mrl · minilm, trained on toy"]
