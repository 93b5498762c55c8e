"""Which rows are used for what, what is left out, and what is refused."""

from dataclasses import replace

import evaluator_folds as small
import numpy as np
import pandas as pd
import pytest
from evaluator_folds import run, values
from sklearn.cluster import KMeans
from sklearn.metrics import v_measure_score
from sklearn.preprocessing import normalize

from mipic_bench import evaluators, families
from mipic_bench.encoding.embed import Embeddings
from mipic_bench.errors import UserError, UserErrors
from mipic_bench.evaluators import _precision, _search, bytes_per_vector, evaluator
from mipic_bench.evaluators._precision import calibration_texts

FAMILIES = tuple(small.FOLDS)


def scored(family, fold, embeddings, **options):
    scorer = evaluator(family)
    return run(scorer, fold, embeddings, **options), scorer.notes


def with_zero_prefix(embeddings, text, dim):
    """The same vectors, but one text has nothing in its first coordinates."""
    arrays = {layer: embeddings.at(layer).copy() for layer in embeddings.layers}
    for array in arrays.values():
        array[embeddings.index[text], :dim] = 0
    return Embeddings(embeddings.index, arrays)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_stronger_layer_scores_higher(family):
    fold, embeddings = small.FOLDS[family]()
    if family == "retrieval":
        pytest.skip("its vectors are noise")
    for metric in families.FAMILIES[family].metrics:
        found = values(scored(family, fold, embeddings)[0], metric)
        assert found[3, 16] > found[1, 16] > 0


@pytest.mark.parametrize("family", FAMILIES)
def test_budgets_that_do_not_exist_are_told_at_once(family):
    fold, embeddings = small.FOLDS[family]()
    with pytest.raises(UserErrors) as told:
        evaluator(family).score(fold, embeddings, [1, 2], [0, 17], ["float16"], "cleen")
    text = str(told.value)
    assert "unknown protocol 'cleen'" in text and "unknown precision 'float16'" in text and "did you mean clean" in text
    assert "layer 2 was not encoded; encoded: 1, 3" in text
    assert "dim 0 is outside 1..16" in text and "dim 17 is outside 1..16" in text


@pytest.mark.parametrize("family", FAMILIES)
def test_a_vector_without_direction_leaves_the_budget_without_a_value(family):
    fold, embeddings = small.FOLDS[family]()
    text = next(evaluator(family).texts(fold))
    scores, notes = scored(family, fold, with_zero_prefix(embeddings, text, 4))
    for score in scores:
        assert np.isnan(score.value) == np.isnan(score.stderr) == (score.dim <= 4), score
    assert any("undefined at 4 of 8 budgets" in note for note in notes)


@pytest.mark.parametrize("family", FAMILIES)
def test_vectors_that_are_not_numbers_leave_no_value(family):
    fold, embeddings = small.FOLDS[family]()
    text = next(evaluator(family).texts(fold))
    arrays = {layer: embeddings.at(layer).copy() for layer in embeddings.layers}
    arrays[1][embeddings.index[text], 3] = np.nan
    precisions = list(evaluator(family).precisions)
    scores, _ = scored(family, fold, Embeddings(embeddings.index, arrays), precisions=precisions)
    undefined = {(score.layer, score.dim, score.precision) for score in scores if np.isnan(score.value)}
    there = {score.precision for score in scores}
    assert {"float32", "binary"} <= there
    assert undefined == {(1, dim, precision) for dim in (4, 9, 16) for precision in there}


@pytest.mark.parametrize("broken", [0, np.nan, np.inf])
def test_a_query_without_direction_finds_nothing_by_its_signs_either(monkeypatch, broken):
    """Rescoring orders by the float query: its signs have a direction where itself has none."""
    monkeypatch.setattr(_search, "CANDIDATES", 2)
    fold, embeddings = small.retrieval()
    text = next(evaluator("retrieval").texts(fold))
    table = with_zero_prefix(embeddings, text, 4)
    table.at(3)[table.index[text], :4] = broken
    scores, _ = scored("retrieval", fold, table, layers=[3], precisions=["binary", "binary+rescore"])
    undefined = {(score.dim, score.precision) for score in scores if np.isnan(score.value)}
    rescored = {(dim, "binary+rescore") for dim in (small.DIMS if broken else (2, 4))}
    assert undefined == rescored | ({(dim, "binary") for dim in small.DIMS} if broken else set())


@pytest.mark.parametrize("family", ["sts", "pair"])
def test_similarities_that_are_all_equal_have_no_value(family):
    fold, embeddings = small.FOLDS[family]()
    one = np.ones((len(embeddings.index), 16), dtype=np.float32)
    scores, notes = scored(family, fold, Embeddings(embeddings.index, {1: one, 3: one}))
    assert all(np.isnan(score.value) for score in scores) and notes


@pytest.mark.parametrize("family", [family for family in FAMILIES if family != "retrieval"])
def test_one_row_is_refused(family):
    fold, embeddings = small.FOLDS[family]()
    with pytest.raises(UserError, match="1 rows to score; at least 2"):
        scored(family, replace(fold, score=fold.score.head(1)), embeddings)


@pytest.mark.parametrize("family", ["pair", "classification", "clustering"])
def test_one_class_is_refused(family):
    fold, embeddings = small.FOLDS[family]()
    frame = fold.fit if family == "classification" else fold.score
    one = frame.assign(label=0)
    fold = replace(fold, fit=one) if family == "classification" else replace(fold, score=one)
    with pytest.raises(UserError, match=r"one class|one label|labels are 0; both"):
        scored(family, fold, embeddings)


def test_scores_that_are_not_numbers_are_refused():
    fold, embeddings = small.sts()
    for bad in (np.nan, np.inf):
        with pytest.raises(UserError, match="finite scores that differ"):
            scored("sts", replace(fold, score=fold.score.assign(score=[bad, *fold.score["score"][1:]])), embeddings)
    with pytest.raises(UserError, match="finite scores that differ"):
        scored("sts", replace(fold, score=fold.score.assign(score=1.0)), embeddings)


def test_the_order_of_encoding_changes_no_score(monkeypatch):
    """Bit codes tie often; with equal documents among them the ids still decide who is rescored."""
    monkeypatch.setattr(_search, "CANDIDATES", 12)
    fold, embeddings = small.retrieval()
    first, second, *_ = fold.data.documents
    data = replace(fold.data, documents=fold.data.documents | {first: fold.data.documents[second]})
    arrays = {layer: embeddings.at(layer) for layer in embeddings.layers}
    order = np.random.default_rng(0).permutation(len(embeddings.index))
    texts = np.array(list(embeddings.index))
    turned = Embeddings.from_arrays(list(texts[order]), {layer: array[order] for layer, array in arrays.items()})
    found = [
        values(
            scored("retrieval", replace(fold, data=data), table, precisions=["binary+rescore"])[0],
            "map",
            "binary+rescore",
        )
        for table in (embeddings, turned)
    ]
    assert found[0] == found[1]


def test_only_search_is_rescored():
    fold, embeddings = small.sts()
    scores, notes = scored("sts", fold, embeddings, precisions=["binary", "binary+rescore"])
    assert {score.precision for score in scores} == {"binary"}
    assert notes == ["small: binary+rescore is a way of searching, so sts has no such rows"]


def test_int8_takes_its_limits_from_texts_that_are_not_scored():
    fold, embeddings = small.classification()
    scorer = evaluator("classification")
    before = run(scorer, fold, embeddings, precisions=["int8"])
    extreme = pd.concat([fold.score, fold.score.tail(1).assign(text="far away 0")])
    arrays = {k: np.vstack([embeddings.at(k), np.full((1, 16), 1e4, np.float32)]) for k in embeddings.layers}
    table = Embeddings.from_arrays([*embeddings.index, "far away 0"], arrays)
    after = run(scorer, replace(fold, score=extreme, tune=extreme), table, precisions=["int8"])
    for one, other in zip(before, after, strict=True):
        if one.metric == "accuracy":
            assert abs(one.value * one.n - other.value * other.n) <= 1 + 1e-9  # nothing moved but the row that joined


def test_limits_are_taken_from_the_first_rows_that_are_not_scored(monkeypatch):
    fold, _ = small.classification()
    fit = list(fold.fit["text"])
    with_scored = replace(fold, fit=pd.concat([fold.score, fold.fit]), tune=fold.fit.head(3))
    assert calibration_texts(with_scored) == fit
    assert calibration_texts(replace(with_scored, fit=fold.score)) == fit[:3]
    assert calibration_texts(replace(fold, fit=None)) == fit  # of the splits that are not scored
    monkeypatch.setattr(_precision, "CALIBRATION_TEXTS", 50)
    assert calibration_texts(fold) == fit[::3]


def test_int8_queries_are_stored_within_the_limits_of_the_documents():
    qrels = pd.DataFrame({"query_id": ["q"], "doc_id": ["a"], "relevance": [1]})
    documents = {"a": "between", "b": "right", "c": "up"}
    fold = small.Fold(
        small.task_data("retrieval", {"test": qrels}, queries={"q": "ask"}, documents=documents),
        "test",
        None,
        None,
        qrels,
    )
    arrays = {1: np.asarray([[10, 1], [1, 1], [1, 0], [0, 1]], dtype=np.float32)}
    table = Embeddings.from_arrays(["ask", *documents.values()], arrays)
    scores, _ = scored("retrieval", fold, table, layers=[1], dims=[2], precisions=["float32", "int8"])
    assert values(scores, "mrr@10") == {(1, 2): 0.5}  # "right" is nearer to the query as it is
    assert values(scores, "mrr@10", "int8") == {(1, 2): 1.0}  # than to (1, 1), as which it is stored


def test_int8_without_other_texts_is_left_out_and_said():
    fold, embeddings = small.sts()
    scores, notes = scored("sts", fold, embeddings, precisions=["float32", "int8"])
    assert {score.precision for score in scores} == {"float32"}
    assert notes == ["small: no text outside the scored rows to take int8 limits from, so no int8 rows"]
    assert set(evaluator("sts").texts(fold, ["int8"])) == set(evaluator("sts").texts(fold))


def test_int8_is_close_to_float32_and_binary_is_not_far():
    fold, embeddings = small.pair()
    scores, _ = scored("pair", fold, embeddings, precisions=["float32", "int8", "binary"])
    exact, int8, binary = (values(scores, "ap", name) for name in ("float32", "int8", "binary"))
    for budget, value in exact.items():
        assert abs(int8[budget] - value) < 0.02
    assert binary[3, 16] > 0.6


@pytest.mark.parametrize(
    ("dim", "precision", "size"),
    [(384, "float32", 1536), (384, "int8", 384), (384, "binary", 48), (9, "binary", 2), (8, "binary+rescore", 1)],
)
def test_bytes_of_a_stored_vector(dim, precision, size):
    assert bytes_per_vector(dim, precision) == size


def test_names_that_do_not_exist():
    with pytest.raises(UserError, match="did you mean int8"):
        bytes_per_vector(8, "int4")
    with pytest.raises(UserError, match="unknown task family 'stss'"):
        evaluator("stss")


def test_the_clean_threshold_comes_from_the_tune_rows_alone():
    fold, embeddings = small.pair()
    clean = values(scored("pair", fold, embeddings)[0], "pair_accuracy")
    flipped = replace(fold, tune=fold.tune.assign(label=1 - fold.tune["label"]))
    assert values(scored("pair", flipped, embeddings)[0], "pair_accuracy")[3, 16] < clean[3, 16] - 0.2
    for protocol in ("paper", "mteb"):
        swept = [values(scored("pair", f, embeddings, protocol=protocol)[0], "pair_accuracy") for f in (fold, flipped)]
        assert swept[0] == swept[1]
        assert all(swept[0][budget] >= clean[budget] - 0.05 for budget in clean)


def test_the_papers_threshold_may_be_a_negative_cosine():
    angles = {"a": 1.8, "b": 1.9, "c": 2.8, "d": 2.9}  # cosines of about -0.23, -0.32, -0.94 and -0.97
    frame = pd.DataFrame({"sentence1": ["one"] * 4, "sentence2": list(angles), "label": [1, 1, 0, 0]})
    fold = small.Fold(small.task_data("pair", {"test": frame}), "test", None, None, frame)
    arrays = {1: np.asarray([[np.cos(angle), np.sin(angle)] for angle in (0, *angles.values())], dtype=np.float32)}
    table = Embeddings.from_arrays(["one", *angles], arrays)
    scores, _ = scored("pair", fold, table, layers=[1], dims=[2], protocol="paper")
    assert values(scores, "pair_accuracy") == {(1, 2): 1}


def test_without_tune_rows_only_the_threshold_free_metric_is_scored():
    fold, embeddings = small.pair()
    scores, notes = scored("pair", replace(fold, tune=None), embeddings)
    assert {score.metric for score in scores} == {"ap"}
    assert notes == ["small: no rows to tune a threshold on, so only ap is scored"]


def test_labels_that_the_probe_never_saw_count_as_wrong():
    fold, embeddings = small.classification()
    fold = replace(fold, fit=fold.fit[fold.fit["label"] != 4])
    scores, notes = scored("classification", fold, embeddings)
    assert max(score.value for score in scores) <= 0.8
    assert any("18 of 90 scored rows have a label that is not among the rows to fit on" in note for note in notes)


def test_the_probe_says_how_it_converged():
    fold, embeddings = small.classification()
    _, notes = scored("classification", fold, embeddings)
    assert notes[0].startswith("small: 8 of 8 probe fits converged, in ")
    _, notes = scored("classification", fold, embeddings, protocol="paper")
    assert notes[0].startswith("small: 8 of 8 probe fits converged, in ")


def test_a_probe_that_did_not_converge_is_counted(monkeypatch):
    monkeypatch.setattr("mipic_bench.evaluators._logistic._MOST_STEPS", 1)
    fold, embeddings = small.classification()
    assert "small: 0 of 8 probe fits converged, in " in scored("classification", fold, embeddings)[1][0]


def test_the_papers_probe_reads_raw_prefixes_and_ours_does_not():
    fold, embeddings = small.classification()
    longer = {
        k: embeddings.at(k) * np.linspace(0.1, 5, len(embeddings.index), dtype=np.float32)[:, None] for k in (1, 3)
    }
    table = Embeddings(embeddings.index, longer)
    for protocol, same in (("clean", True), ("mteb", True), ("paper", False)):
        one, other = (scored("classification", fold, e, protocol=protocol)[0] for e in (embeddings, table))
        assert (max(abs(a.value - b.value) for a, b in zip(one, other, strict=True)) < 0.012) == same, protocol


def test_documents_with_equal_texts_rank_by_descending_id():
    qrels = pd.DataFrame({"query_id": ["q", "r"], "doc_id": ["b", "c"], "relevance": [1, 1]})
    documents = {"a": "same", "b": "same", "c": "same", "d": "other"}
    data = small.task_data("retrieval", {"test": qrels}, queries={"q": "ask", "r": "ask"}, documents=documents)
    fold = small.Fold(data, "test", None, None, qrels)
    arrays = {1: np.asarray([[1, 0.2], [1, 0.1], [-1, 3]], dtype=np.float32)}
    table = Embeddings.from_arrays(["ask", "same", "other"], arrays)
    found = values(scored("retrieval", fold, table, layers=[1], dims=[2])[0], "mrr@10")
    assert found[1, 2] == pytest.approx((1 / 2 + 1 / 1) / 2)  # c before b before a


def test_a_document_that_is_the_query_itself_is_no_answer():
    qrels = pd.DataFrame({"query_id": ["q", "r"], "doc_id": ["x", "r"], "relevance": [1, 1]})
    documents = {"q": "A title ask", "x": "answer", "y": "noise", "r": "ask too"}
    queries = {"q": "ask", "r": "ask too"}
    data = small.task_data("retrieval", {"test": qrels}, queries=queries, documents=documents)
    fold = small.Fold(data, "test", None, None, qrels)
    vectors = {"ask": [1, 0], "A title ask": [1, 0.1], "answer": [1, 0.5], "noise": [-1, 0], "ask too": [0, 1]}
    table = Embeddings.from_arrays(list(vectors), {1: np.asarray(list(vectors.values()), dtype=np.float32)})
    found = values(scored("retrieval", fold, table, layers=[1], dims=[2])[0], "mrr@10")
    assert found[1, 2] == 1  # q's own copy is passed over; r's is judged relevant and stays


def test_a_document_that_has_the_id_of_a_query_and_another_text_is_found():
    qrels = pd.DataFrame({"query_id": ["1"], "doc_id": ["2"], "relevance": [1]})
    documents = {"1": "nearer", "2": "answer"}
    data = small.task_data("retrieval", {"test": qrels}, queries={"1": "ask"}, documents=documents)
    fold = small.Fold(data, "test", None, None, qrels)
    arrays = {1: np.asarray([[1, 0], [1, 0.1], [1, 0.5]], dtype=np.float32)}
    table = Embeddings.from_arrays(["ask", "nearer", "answer"], arrays)
    assert values(scored("retrieval", fold, table, layers=[1], dims=[2])[0], "mrr@10") == {(1, 2): 0.5}


def test_the_order_of_the_judgements_changes_no_score():
    fold, embeddings = small.retrieval()
    turned = replace(fold, score=fold.score.sample(frac=1, random_state=0))
    found = [values(scored("retrieval", one, embeddings)[0], "ndcg@10") for one in (fold, turned)]
    assert found[0] == pytest.approx(found[1], abs=1e-12)


@pytest.mark.parametrize(("candidates", "rank"), [(1, 1), (2, 2)])
def test_candidates_are_rescored_by_the_float_query_and_stay_above_the_rest(monkeypatch, candidates, rank):
    """Of 64 signs "a" shares all but the first with the query, whose first coordinate is by far the largest."""
    monkeypatch.setattr(_search, "CANDIDATES", candidates)
    qrels = pd.DataFrame({"query_id": ["q"], "doc_id": ["a"], "relevance": [1]})
    documents = {"a": "most signs", "b": "the sign that counts", "c": "noise"}
    data = small.task_data("retrieval", {"test": qrels}, queries={"q": "ask"}, documents=documents)
    vectors = np.ones((4, 64), dtype=np.float32)
    vectors[0, 0], vectors[1, 0], vectors[2, 1:3], vectors[3] = 100, -1, -1, -1
    table = Embeddings.from_arrays(["ask", *documents.values()], {1: vectors})
    fold = small.Fold(data, "test", None, None, qrels)
    scores, _ = scored("retrieval", fold, table, layers=[1], dims=[64], precisions=["binary", "binary+rescore"])
    assert values(scores, "mrr@10", "binary") == {(1, 64): 1}
    assert values(scores, "mrr@10", "binary+rescore") == {(1, 64): 1 / rank}


def test_queries_without_a_relevant_document_are_counted_and_left_out():
    fold, embeddings = small.retrieval()
    fewer = fold.score.assign(relevance=np.where(fold.score["query_id"] == "q3", 0, fold.score["relevance"]))
    scores, notes = scored("retrieval", replace(fold, score=fewer), embeddings)
    assert {score.n for score in scores} == {11}
    assert notes == ["small: 1 queries without a relevant document are left out"]
    with pytest.raises(UserError, match="no query has a relevant document"):
        scored("retrieval", replace(fold, score=fewer.assign(relevance=0)), embeddings)


def test_blocks_of_queries_change_nothing(monkeypatch):
    fold, embeddings = small.retrieval()
    whole = scored("retrieval", fold, embeddings, precisions=evaluators.PRECISIONS)[0]
    monkeypatch.setattr("mipic_bench.evaluators._search._BLOCK_SCORES", 130)  # two queries at a time
    for one, other in zip(
        whole, scored("retrieval", fold, embeddings, precisions=evaluators.PRECISIONS)[0], strict=True
    ):
        assert one.value == pytest.approx(other.value, abs=1e-9)


def test_clustering_is_the_mean_of_five_seeded_runs_on_unit_vectors():
    fold, embeddings = small.clustering()
    found = values(scored("clustering", fold, embeddings)[0], "v_measure")
    vectors = normalize(embeddings.at(3)[:, :9])
    runs = [KMeans(4, n_init=1, random_state=seed).fit_predict(vectors) for seed in range(5)]
    assert found[3, 9] == pytest.approx(np.mean([v_measure_score(fold.score["label"], run) for run in runs]), abs=1e-9)
