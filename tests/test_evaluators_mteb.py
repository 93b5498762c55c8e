"""Our scorers against mteb's on the same data, and mteb's tasks at every budget, free of its pitfalls. Sockets are blocked."""

import random
from dataclasses import replace

import evaluator_folds as small
import mteb
import numpy as np
import pandas as pd
import pytest
import torch
from datasets import Dataset, DatasetDict
from evaluator_folds import run, values
from mteb import abstasks
from small_sweeps import planned, request, swept, write_data
from task_files import write_beir, write_classes, write_csv, write_sts

from mipic_bench import official, tasks
from mipic_bench.encoding.prompts import Prompts
from mipic_bench.errors import UserError
from mipic_bench.evaluators import evaluator
from mipic_bench.official import mteb_tasks
from mipic_bench.planning.request import Inputs
from mipic_bench.results import folder as results

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


def official_of(task):
    """The task in the place of a fold, as a run has it."""
    return official.fold_of(task, "local:small", "abc")


def mtebs(task, embeddings, layers, dims, precisions=("float32",)):
    """What mteb says, and the notes."""
    fold = official_of(task)
    scorer = official.scorer(fold)
    return list(scorer.score(fold, embeddings, layers, dims, precisions, "clean")), scorer.notes


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
    found, _ = mtebs(theirs, embeddings, [3], dims, precisions)
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
    named = list(official.scorer(official_of(theirs)).texts(official_of(theirs)))
    assert set(named) <= set(evaluator(family).texts(fold))
    alone = small.Embeddings.from_arrays(named, {3: embeddings.at(3)[embeddings.rows(named)]})
    of_all, of_named = (mtebs(theirs, table, [3], [16])[0] for table in (embeddings, alone))
    assert [score.value for score in of_named] == [score.value for score in of_all]


def test_data_is_loaded_once_and_a_budget_does_not_depend_on_those_before_it(case):
    _, _, embeddings, theirs = case
    first, _ = mtebs(theirs, embeddings, [3], [16])
    again, _ = mtebs(theirs, embeddings, [1, 3], [4, 16])
    assert [s.value for s in again if (s.layer, s.dim) == (3, 16)] == [s.value for s in first]
    assert type(theirs.task).loads == 1


def test_changed_weights_are_never_answered_from_a_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("MTEB_CACHE", str(tmp_path))
    fold, embeddings = small.sts()
    task = mteb_tasks.load(task_of("sts", fold))
    scrambled = small.embed(embeddings.index, seed=77)
    for _ in range(2):
        true, noise = (mtebs(task, table, [3], [16])[0][0].value for table in (embeddings, scrambled))
        assert true > 0.5 > abs(noise)
    assert list(tmp_path.iterdir()) == []


def test_global_generators_are_left_as_they_were():
    fold, embeddings = small.clustering()
    numpy_state = lambda: np.random.get_state()[1].tolist()  # noqa: E731, NPY002
    before = random.getstate(), numpy_state(), torch.random.get_rng_state()
    task = mteb_tasks.load(task_of("clustering", fold))
    mtebs(task, embeddings, [3], [4])
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
    found, _ = mtebs(mteb_tasks.load(task_of("pair", fold)), table, [1], [2])
    ours = run(evaluator("pair"), fold, table, layers=[1], dims=[2], protocol="mteb")
    assert values(found, "ap") == pytest.approx(values(ours, "ap")) and values(found, "ap")[1, 2] < 0.6


def test_a_split_that_it_lacks_is_said_and_another_scored():
    fold, _ = small.sts()
    task = mteb_tasks.load(task_of("sts", fold), split="dev")
    assert task.split == "test"
    assert official_of(task).notes == ("mteb:LocalSTS is evaluated on test: test is scored",)


def test_int8_is_left_out_and_said():
    fold, embeddings = small.sts()
    task = mteb_tasks.load(task_of("sts", fold))
    scores, notes = mtebs(task, embeddings, [3], [16], ["int8", "binary+rescore"])
    assert scores == []
    assert notes == [f"mteb:LocalSTS: {name} is not scored through mteb" for name in ("int8", "binary+rescore")]


def test_int8_is_said_before_anything_is_encoded(tmp_path):
    write_sts(tmp_path / "data" / "sts12" / "test.csv", range(4))
    asked = request(tmp_path, tasks=("mteb:STS12",), precisions=("int8",))
    assert "mteb:STS12: int8 is not scored through mteb" in Inputs(asked).notes([])


@pytest.mark.parametrize("broken", [0.0, np.nan])
def test_a_vector_without_direction_has_no_value(case, broken):
    """mteb itself fails on it, and in retrieval ranks it somewhere."""
    family, _, embeddings, theirs = case
    array = embeddings.at(3).copy()
    array[embeddings.index[theirs.asked.scored[-1]], :4] = broken
    table = small.Embeddings(embeddings.index, {1: embeddings.at(1), 3: array})
    found, notes = mtebs(theirs, table, [1, 3], [4])
    expected, none = mtebs(theirs, embeddings, [1], [4])
    assert none == [] and [s.value for s in found if s.layer == 1] == [s.value for s in expected]
    assert all(np.isnan(s.value) for s in found if s.layer == 3) and len(found) == 2 * len(expected)
    assert len(notes) == len(expected) and "is undefined at 1 of 2 budgets (zero or non-finite vectors" in notes[0]


def test_names_and_kinds_that_cannot_be_scored():
    with pytest.raises(UserError, match="did you mean.*SciFact"):
        mteb_tasks.find("SciFakt")
    with pytest.raises(UserError, match=r"unknown mteb task 'qqqqqqq'\n  its \d+ names: mteb available-tasks"):
        mteb_tasks.find("qqqqqqq")
    with pytest.raises(UserError, match="mteb's kind Summarization"):
        mteb_tasks.load(mteb_tasks.find("SummEvalSummarization.v2"))
    with pytest.raises(UserError, match="several tasks in one"):
        mteb_tasks.load(mteb_tasks.find("CQADupstackRetrieval"))


def test_data_that_cannot_be_loaded_is_told(monkeypatch):
    def load_data(self, **kwargs):
        raise ConnectionError("no route")

    monkeypatch.setattr(type(mteb.get_task("STSBenchmark")), "load_data", load_data)
    told = r"task mteb:STSBenchmark: its data cannot be had from the hub: no route\n  put its files into a folder STSB"
    with pytest.raises(UserError, match=told):
        official.load("mteb:STSBenchmark")


def test_official_tasks_stand_beside_others_and_are_done_once(tmp_path, monkeypatch):
    data = write_data(tmp_path / "data")
    write_sts(data / "sts12" / "test.csv", [n % 5 for n in range(9)])  # the registry's name of what mteb calls STS12
    write_beir(data / "SciFact", {"test": [(f"q{n}", f"d{n}", 1) for n in range(3)]})
    asked = request(tmp_path, methods=("pretrained",), tasks=("likeness", "mteb:STS12", "mteb:SciFact"))
    assert not swept(asked).failed
    assert [cell.status for cell in planned(asked)] == ["done"]
    rows = results.read(asked.results).rows()
    assert rows.groupby(["task", "family", "protocol"]).ngroups == 3
    units = {"mteb:STS12": ("sts", "mteb"), "mteb:SciFact": ("retrieval", "mteb"), "likeness": ("sts", "clean")}
    for name, (family, protocol) in units.items():
        own = rows[rows["task"] == name]
        assert set(own["family"]) == {family} and set(own["protocol"]) == {protocol}
        assert set(zip(own["layer"], own["dim"], strict=True)) == {(2, 8), (2, 64), (4, 8), (4, 64)}

    same = replace(asked, tasks=("sts12", "SciFact"), protocol="mteb")
    assert not swept(same).failed
    ours = results.read(asked.results).rows().set_index(["task", "layer", "dim", "metric"])["value"]
    for theirs, own, metric in (("mteb:STS12", "sts12", "spearman"), ("mteb:SciFact", "SciFact", "ndcg@10")):
        for layer, dim in ((2, 8), (4, 64)):
            assert ours[theirs, layer, dim, metric] == pytest.approx(ours[own, layer, dim, metric], abs=1e-4)

    monkeypatch.setattr(official.Official, "version", "mteb 99")
    assert "mteb:SciFact: its scorer changed: version mteb" in planned(asked)[0].reason
    monkeypatch.undo()
    write_sts(data / "sts12" / "test.csv", [n % 5 for n in range(8)])
    assert planned(asked)[0].reason == "mteb:STS12: its data changed: 18 -> 16 scored rows"


def test_how_much_of_an_official_task_was_trained_on_is_counted(tmp_path):
    data = write_data(tmp_path / "data")
    write_sts(data / "sts12" / "test.csv", range(6))
    texts = tasks.load("sts12", data).splits["test"]
    write_csv(
        data / "pairs" / "train.csv", ["anchor", "positive"], texts[["sentence1", "sentence2"]].values[:4].tolist()
    )
    asked = request(tmp_path, tasks=("mteb:STS12",))
    assert not swept(asked).failed
    [record] = results.read(asked.results).provenance().values()
    counted = record["scored"][0]["leakage"]
    assert (counted["leaked_rows"], counted["rows"]) == (8, 12)  # of its texts: mteb keeps its pairs to itself
    assert counted["paired_rows"] is None  # four rows of its own pairs were trained on: 0 would be wrong
    with pytest.raises(UserError, match="mteb scores mteb:STS12 whole"):
        planned(replace(asked, exclude_leaked=True))


def test_a_local_folder_that_cannot_stand_in_is_told(tmp_path):
    data = tmp_path / "data"
    write_sts(data / "SciFact" / "test.csv", range(3))
    with pytest.raises(UserError, match=r"local:SciFact is a sts task with test\n  make it a retrieval task with test"):
        official.load("mteb:SciFact", data)
    write_classes(data / "twenty_newsgroups" / "test.csv", [0, 1, 0])
    with pytest.raises(UserError, match="cannot stand in for clusterings"):
        official.load("mteb:TwentyNewsgroupsClustering.v2", data)


def test_a_classification_from_local_files_fits_on_its_train_rows(tmp_path):
    fold, embeddings = small.classification()
    frames = fold.data.splits.items()
    for split, frame in frames:
        write_csv(tmp_path / "emotion" / f"{split}.csv", ["text", "label"], frame.values.tolist())
    theirs = official.load("mteb:EmotionClassification.v2", tmp_path)
    found = list(official.scorer(theirs).score(theirs, embeddings, [3], [16], ["float32"], "clean"))
    ours = run(evaluator("classification"), fold, embeddings, layers=[3], dims=[16], protocol="mteb")
    assert values(found, "accuracy")[3, 16] == pytest.approx(values(ours, "accuracy")[3, 16], abs=0.02)
    assert set(theirs.score["text"]) == set(fold.score["text"])


def test_a_document_that_is_a_query_too_is_told_where_queries_have_a_prompt():
    fold, _ = small.retrieval()
    text, document = next(iter(fold.data.queries.values())), next(iter(fold.data.documents))
    both = replace(fold, data=replace(fold.data, documents={**fold.data.documents, document: text}))
    own = official_of(mteb_tasks.load(task_of("retrieval", both)))
    told = "1 documents are also queries and were read with the queries' prompt"
    assert Prompts("passage: ", "query: ").notes(own) == Prompts("passage: ", "query: ").notes(both) == (told,)
    assert set(own.data.documents) == set(both.data.documents.values())
