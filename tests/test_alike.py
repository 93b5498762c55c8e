"""What was not trained alike is told: in the report's first section and table, and beside a comparison."""

import pytest
import synthetic

from mipic_bench import reporting
from mipic_bench.analysis import alike
from mipic_bench.analysis.compare import compare
from mipic_bench.analysis.quality import View

METHODS = ("pretrained", "mrl", "mipic")


@pytest.fixture
def frame():
    return synthetic.rows(methods=METHODS, layers=(6,), dims=(8, 32), tasks={"sts": ("stsb",)})


def trained(frame, **settings):
    """Provenance in which the methods named were trained with other settings."""
    records = synthetic.provenance(frame)
    for record in records.values():
        record["recipe"]["training"] |= settings.get(record["cell"]["method"], {})
    return records


def test_nothing_is_told_of_methods_that_were_trained_alike(frame):
    view = View(frame, trained(frame))
    assert alike.unlike(view, view.settings[0]).empty and alike.warnings(view) == []
    assert alike.warnings(View(frame)) == []


def test_a_rate_of_one_method_is_a_column_and_a_sentence(frame):
    view = View(frame, trained(frame, mipic={"learning_rate": 5e-5}))
    table = alike.unlike(view, view.settings[0])
    assert table.to_dict("records") == [
        {"method": "mipic", "learning_rate": "5e-05"},
        {"method": "mrl", "learning_rate": "2e-05"},
    ]
    assert alike.warnings(view) == [
        "minilm, trained on toy: methods differ in learning_rate: 5e-05 (mipic); 2e-05 (mrl)."
    ]


def test_what_a_method_without_training_would_be_trained_with_does_not_matter(frame):
    view = View(frame, trained(frame, pretrained={"learning_rate": 1.0}))
    assert alike.warnings(view) == []


def test_an_older_run_does_not_count(frame):
    older = frame[frame["run"].str.startswith("mipic--") & (frame["seed"] == "0")]
    older = older.assign(run=older["run"] + "old")
    records = trained(frame)
    [run] = older["run"].unique()
    record = synthetic.provenance(older)[run] | {"created": "2025-01-01T00:00:00Z"}
    record["recipe"]["training"]["epochs"] = 7
    view = View(synthetic.pd.concat([frame, older]), records | {run: record})
    assert alike.warnings(view) == []


def test_seeds_of_one_method_that_were_trained_two_ways(frame):
    records = trained(frame)
    run = next(
        name for name, record in records.items() if (record["cell"]["method"], record["cell"]["seed"]) == ("mrl", "1")
    )
    records[run]["recipe"]["training"]["epochs"] = 3
    records[run]["key"] = "fedcba987654"
    view = View(frame, records)
    told = alike.warnings(view)
    assert told[0] == "minilm, trained on toy: methods differ in epochs: 1 (mipic); 1 and 3 (mrl)."
    assert told[1].endswith(
        "seeds of mrl were not trained alike (0, 2 under key 0123456789ab; 1 under key fedcba987654); "
        "their mean is over unlike models."
    )


def test_the_report_and_the_comparison_say_so(frame, tmp_path):
    records = trained(frame, mipic={"learning_rate": 5e-5})
    page = reporting.build(frame, records, tmp_path).read_text()
    first = page[: page.index('id="curves"')]
    assert "Take care: the methods were not trained alike. They differ in learning_rate" in first
    assert "mipic,5e-05" in (tmp_path / "tables" / "settings--minilm--toy.csv").read_text()
    notes = compare(frame, synthetic.published(), records).attrs["notes"]
    assert any("methods differ in learning_rate" in note for note in notes)
    page = reporting.build(frame, trained(frame), tmp_path / "alike").read_text()
    assert "Take care" not in page
