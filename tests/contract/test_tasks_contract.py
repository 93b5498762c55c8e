"""What every task and corpus of the registry must be, whoever adds it."""

import re

import numpy as np
import pytest

from mipic_bench import corpora, tasks
from mipic_bench.data import toy
from mipic_bench.families import FAMILIES

CONSTANTS = list(tasks.registered().values())
HUB = [task for task in CONSTANTS if task.source]
UNPINNED = {"scitail"}  # no revision is known; `load` says so


@pytest.mark.parametrize("task", CONSTANTS, ids=lambda task: task.name)
def test_an_entry_is_complete(task):
    assert task.family in FAMILIES
    assert re.fullmatch(r"[a-z0-9][a-z0-9_-]*", task.name), "a name is a folder's name and a part of file names"
    assert task.title
    assert task.licence, "state the licence, or that the source states none"
    assert task.citation, "say whom to cite"
    assert task.score_range[0] < task.score_range[1]


@pytest.mark.parametrize("task", HUB, ids=lambda task: task.name)
def test_a_hub_entry_is_pinned(task):
    assert re.fullmatch(r"[\w.-]+/[\w.-]+", task.source)
    assert re.fullmatch(r"[0-9a-f]{40}", task.revision) or task.name in UNPINNED


def test_names_are_used_once():
    names = [task.name for task in CONSTANTS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", toy.TASKS)
def test_data_keep_their_shape(name):
    data = tasks.load(name)
    assert data.family == tasks.registered()[name].family
    assert re.fullmatch(r"[0-9a-f]{64}", data.digest)
    for frame in data.splits.values():
        assert tuple(frame.columns) == FAMILIES[data.family].columns
        for column in frame.columns:
            if column == "score":
                assert frame[column].dtype == np.float64
            elif column in ("label", "relevance"):
                assert frame[column].dtype == np.int64
            else:
                assert all(type(value) is str for value in frame[column])
    if data.labels:
        assert set(data.splits["test"]["label"]) <= set(range(len(data.labels)))
    fold = tasks.fold(data)
    assert fold.data is data
    assert fold.split in ("dev", "test")


@pytest.mark.parametrize("corpus", list(corpora.registered().values()), ids=lambda corpus: corpus.name)
def test_a_corpus_entry_is_complete(corpus):
    assert corpus.kind in corpora.KINDS
    assert re.fullmatch(r"[0-9a-f]{40}", corpus.revision)
    assert corpus.licence
    assert corpus.citation


@pytest.mark.parametrize("name", toy.CORPORA)
def test_corpora_keep_their_shape(name):
    corpus = corpora.load(name)
    wanted = {"text": 1, "pairs": 2, "scored": 2, "triplets": 3}[corpus.kind]
    assert tuple(corpus.columns) == ("anchor", "positive", "negative")[:wanted]
    assert {len(column) for column in corpus.columns.values()} == {len(corpus)}
    assert (corpus.scores is not None) == (corpus.kind == "scored")
