"""The generated data: the same at every call, gold computed, no sentence twice."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from mipic_bench import corpora, tasks
from mipic_bench.data import toy, toy_words
from mipic_bench.planning import leakage

# Golden: when one changes, every toy number in results and reports changes with it. Change them on purpose only.
DIGESTS = {
    "toy-sts": "c053101c9d31",
    "toy-classification": "3ac0ed0f96fe",
    "toy-pair": "0598ed4d1279",
    "toy-retrieval": "28ac8de7c19c",
    "toy-clustering": "baff1d7029d9",
    "toy": "0236bc1d2c38",
    "toy-pairs": "d5a7f8ca1513",
    "toy-triplets": "a34380b8a19b",
    "toy-scored": "256a17b06ac0",
}


def test_the_data_are_the_golden_ones():
    made = {name: tasks.load(name).digest[:12] for name in toy.TASKS}
    made |= {name: corpora.load(name).digest[:12] for name in toy.CORPORA}
    assert made == DIGESTS


def test_another_process_makes_the_same_data():
    code = "from mipic_bench import tasks; print(tasks.load('toy-retrieval').digest)"
    root = Path(__file__).parents[1]
    told = subprocess.run([sys.executable, "-c", code], cwd=root, check=True, capture_output=True, text=True).stdout
    assert told.strip() == tasks.load("toy-retrieval").digest


@pytest.mark.parametrize("name", toy.TASKS)
def test_every_split_is_there_and_of_a_quick_size(name):
    data = tasks.load(name)
    assert set(data.splits) == {"train", "dev", "test"}
    rows = data.splits["test"]["query_id"].nunique() if data.family == "retrieval" else len(data.splits["test"])
    assert 200 <= rows <= 400
    assert data.source == "toy"
    assert tasks.fold(data).notes == ()


def test_no_sentence_stands_in_two_splits_tasks_or_corpora():
    seen = Counter()
    for name in toy.TASKS:
        made = toy.task(name)
        for table in made.splits.values():
            for column in ("text", "sentence1", "sentence2"):
                seen.update(leakage.normalized(text) for text in table.get(column, ()))
        seen.update(leakage.normalized(entry["text"]) for entry in (*made.documents, *made.queries))
    scored = set(seen)
    for name in toy.CORPORA:
        texts = [text for column in corpora.load(name).columns.values() for text in column]
        assert not scored & {leakage.normalized(text) for text in texts}
        assert len(set(texts)) == len(texts)
    assert max(seen.values()) == 1


def test_the_test_split_puts_intents_in_ways_unseen_in_training():
    data = tasks.load("toy-classification")
    assert len(data.labels) >= 12
    train, test = (" ".join(data.splits[split]["text"]).casefold() for split in ("train", "test"))
    for ways in toy_words.INTENTS.values():
        assert ways[0].casefold() in train
        assert ways[5].casefold() not in train
        assert ways[5].casefold() in test


def test_similarity_is_graded():
    scene = toy.Scene("kitchen", (0, 0, 0, 0, 0, 0))
    other = toy.Scene("kitchen", (1, 1, 1, 1, 1, 1))
    assert toy.similarity(scene, scene) == 5
    assert toy.similarity(scene, other) == 1
    assert toy.similarity(scene, toy.Scene("farm", (0, 0, 0, 0, 0, 0))) == 0
    assert toy.similarity(scene, toy.Scene("kitchen", (0, 0, 0, 0, 0, 0), negated=True)) == 3.4
    assert toy.similarity(other, toy.Scene("kitchen", (0, 0, 0, 0, 0, 0), negated=True)) == 0.5
    assert sum(toy.WEIGHTS.values()) == pytest.approx(1)


def test_graded_pairs_cover_the_whole_scale():
    scores = tasks.load("toy-sts").splits["test"]["score"]
    assert scores.nunique() > 20
    assert scores.min() == 0
    assert scores.max() == 5


def test_the_pair_classes_are_balanced_and_the_words_differ():
    test = tasks.load("toy-pair").splits["test"]
    assert test["label"].mean() == 0.5
    assert (test["sentence1"] != test["sentence2"]).all()


def test_every_query_has_its_own_report():
    data = tasks.load("toy-retrieval")
    assert 300 <= len(data.documents) <= 600
    for frame in data.splits.values():
        best = frame[frame["relevance"] == 2]
        assert set(best["query_id"]) == set(frame["query_id"])
        assert (best["doc_id"].str.removeprefix("d") == best["query_id"].str.removeprefix("q")).any()
    train, test = (set(data.splits[split]["query_id"]) for split in ("train", "test"))
    assert not train & test


def test_the_corpora_are_of_every_kind():
    assert {corpora.load(name).kind for name in toy.CORPORA} == set(corpora.KINDS)
    assert all(len(corpora.load(name)) == 1200 for name in toy.CORPORA)


def test_a_sentence_is_grammatical_when_denied_and_when_passive():
    writer = toy.Writer(set(), 0)
    scene = toy.Scene("farm", (0, 0, 0, 0, 0, 0), negated=True)
    told = {writer.sentence(scene) for _ in range(60)}
    assert any(" did not feed up the " in text for text in told)
    assert any(" was not fed up by the " in text for text in told)
    assert all(text[0].isupper() and text.endswith(".") for text in told)
