"""Every shipped file of published numbers is one: whatever is added to baselines/ is tested without a change here."""

import csv
import re

import pytest

from mipic_bench import tasks
from mipic_bench.analysis import baselines
from mipic_bench.paths import shipped

FILES = sorted(shipped("baselines").glob("*.csv"))
AVERAGES = {"sts_average", "beir_average"}


def test_there_are_files():
    assert len(FILES) >= 9


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_shipped_file_is_whole(path):
    assert baselines.check(path) == []
    frame = baselines.load([path])
    assert frame["published"].all()
    assert (frame[["source", "locator", "method"]] != "").all(axis=None)
    assert frame["value"].between(-1, 1).all()
    assert frame["source"].str.contains(r"arXiv:\d{4}\.\d{4,5}|10\.\d{4,}/|[\w-]+/[\w.-]+", regex=True).all()
    registered = tasks.known()
    for task, family in frame[["task", "family"]].drop_duplicates().itertuples(index=False):
        assert registered.get(task, family) == family, f"{task} is of the family {registered[task]}"
        assert re.fullmatch(r"[a-z0-9_-]+", task)
    assert frame.loc[frame["task"].isin(AVERAGES), "note"].str.contains("mean over|not recorded|APPROXIMATE").all()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_header_is_the_documented_one(path):
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.reader(stream))
    assert tuple(rows[0]) == baselines.COLUMNS
    assert all(len(row) == len(rows[0]) for row in rows)
    assert f"| `{path.name}` | {len(rows) - 1} |" in (path.parent / "README.md").read_text(encoding="utf-8")


def test_the_example_for_the_papers_own_tables_is_a_baseline(tmp_path):
    text = (shipped("baselines") / "README.md").read_text(encoding="utf-8")
    header = re.search(r"`(method,backbone,corpus,[^`]*)`", text)
    example = re.search(r"`(MIPIC,[^`]*)`", text)
    path = tmp_path / "mipic.csv"
    path.write_text(f"{header[1]}\n{example[1]}\n", encoding="utf-8")
    assert baselines.check(path) == []


def test_every_doubt_stays_with_its_number():
    frame = baselines.load()
    starbucks = frame[(frame["task"] == "quora") & frame["value"].isin([0.0178, 0.1566, 0.3419])]
    assert len(starbucks) == 3 and starbucks["note"].str.contains("outlier").all()
    of = frame.groupby("file")
    assert of.get_group("2dmse_reproduce.csv")["note"].str.contains("Pearson").all()
    swapped = of.get_group("csr.csv")["note"].str.contains("look swapped")
    assert swapped.sum() == 6
    sparse = of.get_group("csr.csv")["note"].str.contains("active units")
    assert (of.get_group("csr.csv").loc[sparse, "precision"] == "sparse").all() and sparse.sum() == 12
    assert of.get_group("smec.csv")["note"].str.contains("APPROXIMATE").sum() == 9
    assert of.get_group("mic.csv")["note"].str.contains("metric presumed").all()


def test_the_figures_that_the_main_job_reproduces():
    frame = baselines.load(["all_minilm_l6_v2"]).set_index("task")
    assert (frame["backbone"] == "minilm").all() and (frame["layer"] == "last").all() and (frame["dim"] == 384).all()
    published = {"sts12": 0.7237, "sts13": 0.8060, "sts14": 0.7559, "sts15": 0.8539, "stsb": 0.8203, "scifact": 0.645}
    assert frame["value"].to_dict() == published
