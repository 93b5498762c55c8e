"""Our scorers against mteb's on the same data, and mteb's tasks at every budget, free of its pitfalls. Sockets are blocked."""

import random

import evaluator_folds as small
import mteb
import numpy as np
import pandas as pd
import pytest
import torch
from datasets import Dataset, DatasetDict
from evaluator_folds import run, values
from mteb import abstasks

from mipic_bench.errors import UserError
from mipic_bench.evaluators import evaluator, mteb_tasks

BASES = {
    "sts": ("STS", abstasks.AbsTaskSTS, "cosine_spearman"),
    "pair": ("PairClassification", abstasks.AbsTaskPairClassification, "cosine_ap"),
    "classification": ("Classification", abstasks.AbsTaskClassification, "accuracy"),
    "clustering": ("Clustering", abstasks.AbsTaskClustering, "v_measure"),
    "retrieval": ("Retrieval", abstasks.AbsTaskRetrieval, "ndcg_at_10"),
}


def as_dataset(family, fold):
    if family == "retrieval":
        data = fold.data
        relevant = {
            query: dict(zip(rows["doc_id"], rows["relevance"].tolist(), strict=True))
            for query, rows in fold.score.groupby("query_id")
        }
        corpus = [{"id": name, "text": text, "title": ""} for name, text in data.documents.items()]
        queries = [{"id": name, "text": text} for name, text in data.queries.items()]
        parts = {"corpus": Dataset.from_list(corpus), "queries": Dataset.from_list(queries)}
        return {"default": {"test": {**parts, "relevant_docs": relevant, "top_ranked": None}}}
    renames = {"pair": {"label": "labels"}, "clustering": {"text": "sentences", "label": "labels"}}.get(family, {})
    frames = {"test": fold.score} | ({"train": fold.fit} if fold.fit is not None else {})
    return DatasetDict({name: Dataset.from_pandas(frame.rename(columns=renames)) for name, frame in frames.items()})


def task_of(family, fold, splits=("test",)):
    kind, base, main_score = BASES[family]

    class Local(base):
        metadata = mteb.TaskMetadata(
            name=f"Local{kind}",
            description="local",
            type=kind,
            category="t2c" if family in ("classification", "clustering") else "t2t",
            main_score=main_score,
            eval_splits=list(splits),
            eval_langs=["eng-Latn"],
            dataset={"path": "local/small", "revision": "abc"},
        )
        max_fraction_of_documents_to_embed = None
        loads = 0

        def load_data(self, num_proc=None, **kwargs):
            if not self.data_loaded:
                self.dataset, self.data_loaded = as_dataset(family, fold), True
                type(self).loads += 1

    return Local()


@pytest.fixture(scope="module", params=small.FOLDS)
def case(request):
    fold, embeddings = small.FOLDS[request.param]()
    return request.param, fold, embeddings, mteb_tasks.load(task_of(request.param, fold))


TOLERANCE = {"classification": 0.01, "retrieval": 1e-4}  # mteb rounds each query's metrics to five places


def test_our_scorers_agree_with_mtebs(case):
    family, fold, embeddings, theirs = case
    dims = (3, 16)
    precisions = ["float32", "binary"] if family in ("sts", "classification") else ["float32"]
    ours = run(evaluator(family), fold, embeddings, layers=[3], dims=dims, precisions=precisions, protocol="mteb")
    found = list(theirs.score(embeddings, [3], dims, precisions, model="small", digest="1"))
    assert len(ours) == len(found)
    for one, other in zip(ours, found, strict=True):
        assert (one.layer, one.dim, one.precision, one.metric, one.n) == (
            other.layer,
            other.dim,
            other.precision,
            other.metric,
            other.n,
        )
        assert one.value == pytest.approx(other.value, abs=TOLERANCE.get(family, 1e-6)), one


def test_the_texts_named_are_all_that_is_looked_up(case):
    family, fold, embeddings, theirs = case
    named = theirs.texts()
    assert set(named) <= set(evaluator(family).texts(fold))
    alone = small.Embeddings.from_arrays(named, {3: embeddings.at(3)[embeddings.rows(named)]})
    of_all, of_named = (
        list(theirs.score(e, [3], [16], ["float32"], model="m", digest="1")) for e in (embeddings, alone)
    )
    assert [score.value for score in of_named] == [score.value for score in of_all]


def test_data_is_loaded_once_and_a_budget_does_not_depend_on_those_before_it(case):
    _, _, embeddings, theirs = case
    first = list(theirs.score(embeddings, [3], [16], ["float32"], model="small", digest="1"))
    again = list(theirs.score(embeddings, [1, 3], [4, 16], ["float32"], model="small", digest="1"))
    assert [s.value for s in again if (s.layer, s.dim) == (3, 16)] == [s.value for s in first]
    assert type(theirs.task).loads == 1


def test_changed_weights_are_never_answered_from_a_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("MTEB_CACHE", str(tmp_path))
    fold, embeddings = small.sts()
    task = mteb_tasks.load(task_of("sts", fold))
    scrambled = small.embed(embeddings.index, seed=77)
    for digest in ("1", "2", "1"):
        true, noise = (
            next(task.score(table, [3], [16], ["float32"], model="no_model_name/available", digest=digest)).value
            for table in (embeddings, scrambled)
        )
        assert true > 0.5 > abs(noise)
    assert list(tmp_path.iterdir()) == []


def test_global_generators_are_left_as_they_were():
    fold, embeddings = small.clustering()
    numpy_state = lambda: np.random.get_state()[1].tolist()  # noqa: E731, NPY002
    before = random.getstate(), numpy_state(), torch.random.get_rng_state()
    task = mteb_tasks.load(task_of("clustering", fold))
    list(task.score(embeddings, [3], [4], ["float32"], model="small", digest="1"))
    assert random.getstate() == before[0]
    assert numpy_state() == before[1]
    assert torch.equal(torch.random.get_rng_state(), before[2])


def test_cosine_is_read_where_another_similarity_would_win():
    frame = pd.DataFrame(
        {"sentence1": ["a", "b", "c", "d"], "sentence2": ["a2", "b2", "c2", "d2"], "label": [1, 1, 0, 0]}
    )
    fold = small.Fold(small.task_data("pair", {"test": frame}), "test", None, None, frame)
    lengths = {"a": 9, "a2": 9, "b": 9, "b2": 9, "c": 1, "c2": 1, "d": 1, "d2": 1}
    angles = {"a": 0, "a2": 1.2, "b": 0, "b2": 1.1, "c": 0, "c2": 0.2, "d": 0, "d2": 0.3}
    arrays = {1: np.asarray([[lengths[t] * np.cos(angles[t]), lengths[t] * np.sin(angles[t])] for t in lengths])}
    table = small.Embeddings.from_arrays(list(lengths), {1: arrays[1].astype(np.float32)})
    found = list(mteb_tasks.load(task_of("pair", fold)).score(table, [1], [2], ["float32"], model="m", digest="1"))
    ours = run(evaluator("pair"), fold, table, layers=[1], dims=[2], protocol="mteb")
    assert values(found, "ap") == pytest.approx(values(ours, "ap")) and values(found, "ap")[1, 2] < 0.6


def test_a_split_that_it_lacks_is_said_and_another_scored():
    fold, _ = small.sts()
    task = mteb_tasks.load(task_of("sts", fold), split="dev")
    assert task.split == "test"
    assert task.notes == ["mteb:LocalSTS is evaluated on test: test is scored"]


def test_int8_is_left_out_and_said():
    fold, embeddings = small.sts()
    task = mteb_tasks.load(task_of("sts", fold))
    assert list(task.score(embeddings, [3], [16], ["int8"], model="m", digest="1")) == []
    assert task.notes == ["mteb:LocalSTS: int8 is not scored through mteb"]


def test_names_and_kinds_that_cannot_be_scored():
    with pytest.raises(UserError, match="did you mean.*SciFact"):
        mteb_tasks.load("SciFakt")
    with pytest.raises(UserError, match="mteb's kind Summarization"):
        mteb_tasks.load("SummEvalSummarization.v2")


def test_data_that_cannot_be_loaded_is_told(monkeypatch):
    def load_data(self, **kwargs):
        raise ConnectionError("no route")

    monkeypatch.setattr(type(mteb.get_task("STSBenchmark")), "load_data", load_data)
    with pytest.raises(UserError, match=r"mteb:STSBenchmark: its data could not be loaded \(no route\)"):
        mteb_tasks.load("STSBenchmark")
