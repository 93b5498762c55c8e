"""Hub datasets, with the hub replaced: what their columns become, and what is said when it cannot be reached."""

import os
import socket

import pytest
from huggingface_hub import constants

import mipic_bench as mb
from mipic_bench import corpora, tasks
from mipic_bench.errors import UserError

datasets = pytest.importorskip("datasets")


@pytest.fixture
def hub(monkeypatch):
    """Serve datasets by (id, config); a call is recorded."""
    served, calls = {}, []

    def load_dataset(source, config=None, *, revision=None):
        calls.append((source, config, revision))
        if (source, config) not in served:
            raise ConnectionError(f"Couldn't reach '{source}' on the Hub")
        return served[source, config]

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return served, calls


def made(features=None, **columns):
    return datasets.Dataset.from_dict(columns, features=features)


def test_an_unreachable_hub_names_the_local_way(hub):
    with pytest.raises(UserError, match=r"stsb from the hub .*Couldn't reach(.|\n)*--data"):
        tasks.load("stsb")


def test_sockets_are_never_needed_to_say_so(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match="no hub source that this project knows(.|\n)*--data"):
        tasks.load("cisi", tmp_path)


@pytest.mark.parametrize("name", ["sts13", "mteb:STS13"])
def test_offline_no_dataset_is_asked_for(name, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("the hub was asked")

    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    with pytest.raises(UserError, match=r"cannot be|offline"):
        mb.run("pretrained", backbone="tiny", tasks=name, offline=True, results=tmp_path)
    assert os.environ["HF_HUB_OFFLINE"] == "1" and constants.HF_HUB_OFFLINE and datasets.config.HF_HUB_OFFLINE


def test_the_names_that_mteb_has_for_our_datasets():
    mteb = pytest.importorskip("mteb")
    named = [task for task in tasks.registered().values() if task.mteb]
    assert len(named) >= 15
    for task in named:
        assert mteb.get_task(task.mteb).metadata.dataset["path"] == task.source


def test_the_pinned_revision_is_asked_for(hub):
    served, calls = hub
    rows = made(sentence1=["a", "b"], sentence2=["c", "d"], score=[0.0, 5.0])
    served["mteb/sts13-sts", None] = {"test": rows}
    data = tasks.load("sts13")
    assert calls == [("mteb/sts13-sts", None, tasks.registered()["sts13"].revision)]
    assert data.source == f"hub:mteb/sts13-sts@{tasks.registered()['sts13'].revision}"
    assert data.notes == ()


def test_class_numbers_become_names_and_hidden_splits_are_not_read(hub):
    features = datasets.Features(
        sentence1=datasets.Value("string"),
        sentence2=datasets.Value("string"),
        label=datasets.ClassLabel(names=["entailment", "not_entailment"]),
    )
    pairs = {"sentence1": ["a", "b"], "sentence2": ["c", "d"]}
    hub[0]["nyu-mll/glue", "rte"] = {
        "train": made(features, **pairs, label=[0, 1]),
        "validation": made(features, **pairs, label=[1, 0]),
        "test": made(features, **pairs, label=[-1, -1]),
    }
    data = tasks.load("rte")
    assert list(data.splits) == ["train", "dev"]
    assert data.splits["train"]["label"].tolist() == [1, 0]
    assert tasks.fold(data).split == "dev"


def test_rows_without_text_or_label_are_left_out_and_counted(hub):
    texts = {"text": ["a", "", "b", None, "c"], "label": [0, 1, 1, 2, 2]}
    hub[0]["mteb/tweet_sentiment_extraction", None] = {"train": made(**texts), "test": made(**texts)}
    data = tasks.load("tweet_sentiment")
    assert data.labels == ("negative", "neutral", "positive")
    assert data.splits["test"]["text"].tolist() == ["a", "b", "c"]
    assert "2 rows of train have no text" in data.notes[0]


def test_a_missing_pin_is_said(hub):
    rows = made(premise=["a", "b"], hypothesis=["c", "d"], label=["neutral", "entails"])
    hub[0]["allenai/scitail", "tsv_format"] = {"validation": rows, "test": rows}
    data = tasks.load("scitail")
    assert "no revision is pinned" in data.notes[0]
    assert data.splits["test"]["label"].tolist() == [0, 1]


def test_clustering_sets_are_joined(hub):
    rows = made(sentences=[["a", "b"], ["b", "c"]], labels=[["x", "y"], ["y", "x"]])
    hub[0]["mteb/twentynewsgroups-clustering", None] = {"test": rows}
    data = tasks.load("twenty_newsgroups")
    assert data.splits["test"]["text"].tolist() == ["a", "b", "c"]
    assert data.labels == ("x", "y")


def test_beir_of_the_hub_is_joined_and_unknown_ids_are_counted(hub):
    corpus = made(_id=["d0", "d1"], title=["T", ""], text=["one", "two"])
    queries = made(_id=["q0", "q1"], text=["first", "second"])
    judged = made(**{"query-id": ["q0", "q1", "q1"], "corpus-id": ["d0", "d1", "d9"], "score": [1.0, 1.0, 1.0]})
    served = {"corpus": {"corpus": corpus}, "queries": {"queries": queries}, "default": {"test": judged}}
    hub[0].update({("mteb/nfcorpus", config): splits for config, splits in served.items()})
    data = tasks.load("nfcorpus")
    assert data.documents == {"d0": "T one", "d1": "two"}
    assert len(data.splits["test"]) == 2
    assert "1 judgements name unknown" in data.notes[0]


def test_a_corpus_of_the_hub(hub):
    rows = made(anchor=["a", "b"], positive=["c", "d"], negative=["e", "f"])
    hub[0]["sentence-transformers/all-nli", "triplet"] = {"train": rows}
    corpus = corpora.load("all_nli")
    assert (corpus.kind, len(corpus)) == ("triplets", 2)
    hub[0]["me/mine", "small"] = {"train": made(text=["a", "b"])}
    other = corpora.load("hub:me/mine@abc#small")
    assert (other.name, other.kind, other.source) == ("me__mine__small@abc", "text", "hub:me/mine@abc#small")
    assert hub[1][-1] == ("me/mine", "small", "abc")
    hub[0]["me/none", None] = {"test": made(text=["a", "b"])}
    with pytest.raises(UserError, match="no train split; it has test"):
        corpora.load("hub:me/none")
