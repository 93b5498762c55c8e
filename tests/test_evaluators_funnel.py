"""Funnel retrieval: what it finds, what it costs, what is refused."""

import json
from dataclasses import replace

import evaluator_folds as small
import numpy as np
import pandas as pd
import pytest
from command_line import caller
from evaluator_folds import run, values
from small_sweeps import request, write_data
from task_files import write_beir

from mipic_bench.encoding.embed import Embeddings
from mipic_bench.errors import UserError, UserErrors
from mipic_bench.evaluators import evaluator
from mipic_bench.evaluators._ranking import per_query
from mipic_bench.evaluators.funnel import funnel
from mipic_bench.families import FAMILIES
from mipic_bench.models.funnels import search
from mipic_bench.planning.plan import plan
from mipic_bench.planning.request import Inputs
from mipic_bench.recipes.methods import find
from mipic_bench.running.progress import Reporter


def exact(fold, embeddings, layer=3, dim=16):
    scores = run(evaluator("retrieval"), fold, embeddings, layers=[layer], dims=[dim])
    return {metric: values(scores, metric)[layer, dim] for metric in FAMILIES["retrieval"].metrics}


def test_a_funnel_that_keeps_everything_is_exact_search():
    fold, embeddings = small.retrieval()
    for widths, shortlists in (([16], []), ([4, 16], [60]), ([2, 5, 16], [999, 60])):
        found = funnel(fold, embeddings, 3, widths, shortlists)
        for metric, value in exact(fold, embeddings).items():
            assert found.exact[metric].value == pytest.approx(value, abs=1e-9)
            assert found.quality[metric].value == pytest.approx(value, abs=1e-9)
            assert found.lost[metric].value == 0
        assert found.multiply_adds == found.exact_multiply_adds == 60 * 16
        assert found.n == 12 and found.seconds > 0 and found.exact_seconds > 0


def loop(fold, embeddings, layer, widths, shortlists):
    """The funnel's metrics, one query at a time with sorted lists."""
    table, data = embeddings.at(layer).astype(float), fold.data
    metrics = []
    for query, rows in fold.score.groupby("query_id", sort=False):
        q = table[embeddings.index[data.queries[query]]]
        documents = {name: table[embeddings.index[text]] for name, text in data.documents.items()}
        left, dropped = list(documents), []
        for width, keep in zip(widths, [*shortlists, None], strict=True):
            cosine = {d: q[:width] @ documents[d][:width] / np.linalg.norm(documents[d][:width]) for d in left}
            left.sort(key=cosine.get, reverse=True)
            if keep is not None:
                left, dropped = left[:keep], left[keep:] + dropped
        order = left + dropped
        ranks = np.asarray([order.index(name) + 1 for name in rows["doc_id"]])
        judged = small_judged(rows)
        metrics.append({name: value[0] for name, value in per_query(judged, ranks).items()})
    return {name: np.mean([row[name] for row in metrics]) for name in metrics[0]}


def small_judged(rows):
    from mipic_bench.evaluators._ranking import Judged

    return Judged(np.zeros(len(rows), int), np.arange(len(rows)), rows["relevance"].to_numpy(float), 1)


@pytest.mark.parametrize("block", [None, 130])
def test_a_funnel_is_the_loop_over_its_stages(monkeypatch, block):
    if block:
        monkeypatch.setattr("mipic_bench.evaluators._search._BLOCK_SCORES", block)
    fold, embeddings = small.retrieval()
    for widths, shortlists in (([3, 16], [20]), ([2, 7, 12], [30, 11]), ([2, 4, 9, 16], [40, 40, 5])):
        found = funnel(fold, embeddings, 1, widths, shortlists)
        for metric, value in loop(fold, embeddings, 1, widths, shortlists).items():
            assert found.quality[metric].value == pytest.approx(value, abs=1e-9), (widths, metric)
        assert found.lost["map"].value == pytest.approx(found.exact["map"].value - found.quality["map"].value)


@pytest.mark.parametrize(("widths", "shortlists"), [([2], []), ([1, 2], [4])])
def test_the_query_itself_is_passed_over_at_every_stage(widths, shortlists):
    qrels = pd.DataFrame({"query_id": ["q"], "doc_id": ["x"], "relevance": [1]})
    documents = {"q": "A title ask", "x": "answer", "y": "noise", "z": "more"}
    data = small.task_data("retrieval", {"test": qrels}, queries={"q": "ask"}, documents=documents)
    vectors = [[1, 0], [1, 0.1], [1, 0.5], [-1, 0], [-1, 1]]
    table = Embeddings.from_arrays(["ask", *documents.values()], {1: np.asarray(vectors, dtype=np.float32)})
    found = funnel(small.Fold(data, "test", None, None, qrels), table, 1, widths, shortlists)
    assert (found.quality["mrr@10"].value, found.exact["mrr@10"].value) == (1, 1)


def test_a_stage_multiplies_only_what_its_width_adds():
    fold, embeddings = small.retrieval()
    found = funnel(fold, embeddings, 1, [2, 7, 12], [30, 11])
    assert found.multiply_adds == 60 * 2 + 30 * 5 + 11 * 5
    assert found.exact_multiply_adds == 60 * 16


def test_what_makes_no_funnel_is_told_at_once():
    fold, embeddings = small.retrieval()
    with pytest.raises(UserErrors) as told:
        funnel(fold, embeddings, 2, [8, 4, 99], [10, 20, 30])
    text = str(told.value)
    assert "layer 2 was not encoded" in text and "widths are [8, 4, 99]" in text
    assert "3 widths and 3 shortlists" in text and "shortlists are [10, 20, 30]" in text
    with pytest.raises(UserError, match="the task is of the family sts"):
        funnel(*small.sts(), 3, [16], [])


def test_vectors_without_direction_are_refused():
    fold, embeddings = small.retrieval()
    array = embeddings.at(3).copy()
    array[embeddings.index["text d0"], :4] = 0
    with pytest.raises(UserError, match="1 of .* documents have no direction at width 4"):
        funnel(fold, Embeddings(embeddings.index, {3: array}), 3, [4, 16], [10])
    array[embeddings.index["text d0"], :4] = 1
    query = next(evaluator("retrieval").texts(fold))
    array[embeddings.index[query], 5] = np.nan
    with pytest.raises(UserError, match="1 of .* queries have no direction at width 16"):
        funnel(fold, Embeddings(embeddings.index, {3: array}), 3, [4, 16], [10])


@pytest.fixture
def searched(capsys, monkeypatch, tmp_path):
    """Return a function that calls `evaluate` with more words, on a small task of documents."""
    monkeypatch.chdir(tmp_path)
    write_beir(tmp_path / "data" / "found", {"test": [(f"q{n}", f"d{n}", 1) for n in range(3)]})
    call = caller(capsys, monkeypatch)
    words = ("evaluate", "tiny", "--data", "data", "--task", "found", "--dtype", "float32")
    return lambda *more: call(*words, *more)


def test_the_command_searches_prints_and_writes(searched, tmp_path):
    answer = searched("--funnel", "4:3,16:2,64", "--funnel", "64", "--json")
    assert answer.code == 0, answer.err
    rows = pd.DataFrame(json.loads(answer.out))
    assert set(zip(rows["funnel"], rows["layer"], strict=True)) == {("4:3,16:2,64", 4), ("64", 4)}
    assert set(rows["metric"]) == set(FAMILIES["retrieval"].metrics)
    assert (rows.loc[rows["funnel"] == "64", "lost"] == 0).all()
    assert set(rows["multiply_adds"]) == {4 * 4 + 3 * 12 + 2 * 48, 4 * 64}
    answer = searched("--funnel", "8:2,64", "--layers", "2", "--task", "toy-sts")  # which is no search, and left out
    assert "Funnels: quality" in answer.out and "8:2,64" in answer.out
    [path] = (tmp_path / "results" / "funnels").glob("*.csv")
    assert pd.read_csv(path)["funnel"].nunique() == 3
    assert not (tmp_path / "results" / "runs").exists()  # what it finds are no rows
    searched("--funnel", "8:2,64", "--layers", "2")
    write_beir(tmp_path / "data" / "found", {"test": [(f"q{n}", f"d{n + 1}", 1) for n in range(2)]})
    assert len(pd.read_csv(path)) == 4 * len(FAMILIES["retrieval"].metrics) - len(FAMILIES["retrieval"].metrics)
    for _ in range(2):  # of other data nothing stays, and nothing stands there twice
        searched("--funnel", "64")
    assert pd.read_csv(path, dtype=str)["funnel"].tolist() == ["64"] * len(FAMILIES["retrieval"].metrics)


def test_exact_search_of_an_exported_budget_is_at_its_own_width(searched, tmp_path, capsys, monkeypatch):
    import mipic_bench as mb

    rows = mb.run("pretrained", backbone="tiny", tasks="toy-sts", dims=[8], layers=[2])
    mb.export(rows["run"].iloc[0], layer=2, dim=16, out="short")
    answer = caller(capsys, monkeypatch)(
        "evaluate", "short", "--data", "data", "--task", "found", "--funnel", "4:3,16", "--json"
    )
    assert answer.code == 0, answer.err
    assert {row["exact_multiply_adds"] for row in json.loads(answer.out)} == {4 * 16}
    assert searched("--funnel", "4:3,64").code == 0
    assert (
        caller(capsys, monkeypatch)("evaluate", "short", "--data", "data", "--task", "found", "--funnel", "4:3,64").code
        == 2
    )


def test_queries_of_other_splits_are_not_looked_up(searched, tmp_path):
    judged = {"test": [("q0", "d0", 1), ("q1", "d1", 1)], "dev": [("q2", "d2", 1), ("q0", "d1", 1)]}
    write_beir(tmp_path / "data" / "found", judged)
    answer = searched("--funnel", "8:2,64", "--prompt", "passage: ", "--query-prompt", "query: ", "--json")
    assert answer.code == 0, answer.err
    assert set(pd.DataFrame(json.loads(answer.out))["n"]) == {2}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--funnel", "16:200,64:50"), "'16:200,64:50' is not WIDTH:KEPT,...,WIDTH"),
        (("--funnel", "16:200,96"), "widths are [16, 96]; they must ascend within 1..64"),
        (("--funnel", "8:2,16:4,64"), "shortlists are [2, 4]; they must fall"),
        (("--funnel", "8:2,64", "--dims", "8"), "leave these out"),
    ],
)
def test_mistakes_are_told_before_anything_is_encoded(searched, words, told):
    answer = searched(*words)
    assert answer.code == 2 and told in answer.err and "encode" not in answer.err


def test_a_funnel_needs_a_retrieval_task(capsys, monkeypatch):
    answer = caller(capsys, monkeypatch)("evaluate", "tiny", "--task", "toy-sts", "--funnel", "8:2,64")
    assert answer.code == 2 and "none of these is a retrieval task: toy-sts" in answer.err


@pytest.mark.parametrize("method", ["single-dim", "smec"])
def test_a_method_with_vectors_of_its_own_per_width_has_no_funnel(method, tmp_path):
    write_data(tmp_path / "data")
    write_beir(tmp_path / "data" / "found", {"test": [(f"q{n}", f"d{n}", 1) for n in range(3)]})
    small = ("posthoc.iterations = 2", "posthoc.memory = 8", "posthoc.batch_size = 8") if method == "smec" else ()
    asked = replace(request(tmp_path, tasks=("found",)), methods=tuple(find([method], small)))
    inputs = Inputs(asked)
    [cell] = plan(asked, inputs)
    with pytest.raises(UserError, match="vectors of its own for each width"):
        search(cell, asked, inputs, [((8, 64), (2,))], Reporter(quiet=True))
