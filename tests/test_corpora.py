"""Data to train on, from every source."""

from types import SimpleNamespace

import pandas as pd
import pytest
from task_files import write_beir, write_classes, write_csv, write_pairs, write_sts

from mipic_bench import corpora
from mipic_bench.errors import UserError


def fails(name, data, *told):
    with pytest.raises(UserError) as error:
        corpora.load(name, data)
    for part in told:
        assert part in str(error.value), str(error.value)


@pytest.mark.parametrize(
    ("header", "row", "kind", "columns"),
    [
        (["text"], ["t"], "text", ["anchor"]),
        (["text", "label"], ["t", "x"], "text", ["anchor"]),
        (["anchor", "positive"], ["a", "p"], "pairs", ["anchor", "positive"]),
        (["sentence1", "sentence2"], ["a", "p"], "pairs", ["anchor", "positive"]),
        (["anchor", "positive", "negative"], ["a", "p", "n"], "triplets", ["anchor", "positive", "negative"]),
        (["sentence1", "sentence2", "score"], ["a", "p", "3"], "scored", ["anchor", "positive"]),
        (["anchor", "positive", "score"], ["a", "p", "3"], "scored", ["anchor", "positive"]),
    ],
)
def test_the_kind_is_inferred_and_said(tmp_path, header, row, kind, columns):
    write_csv(tmp_path / "mine" / "train.csv", header, [row, [*row[:-1], row[-1] + "1"]])
    corpus = corpora.load("mine", tmp_path)
    assert (corpus.kind, list(corpus.columns), len(corpus)) == (kind, columns, 2)
    assert (corpus.scores == [3.0, 31.0]) if kind == "scored" else corpus.scores is None
    assert corpus.source == "local:mine"
    assert corpus.notes[0].startswith("corpus mine: the columns")
    assert corpora.known(tmp_path)["mine"] == kind


def test_a_file_is_a_corpus_too(tmp_path, monkeypatch):
    write_csv(tmp_path / "mine" / "notes.csv", ["text"], [["one"], ["two"]])
    monkeypatch.chdir(tmp_path)
    corpus = corpora.load("mine/notes.csv")
    assert (corpus.name, corpus.source) == ("notes", "local:notes")
    assert corpora.load("notes.csv", tmp_path / "mine").digest == corpus.digest
    write_csv(tmp_path / "mine" / "train.CSV", ["text"], [["one"], ["two"]])
    assert corpora.load("mine/train.CSV").name == "mine"  # `train` would be the name of every such file


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("hub:org/data", "org__data"),
        ("hub:org/data#pair", "org__data__pair"),
        ("hub:org/data@0a1b#pair", "org__data__pair@0a1b"),
    ],
)
def test_each_configuration_and_revision_of_the_hub_has_a_name_of_its_own(monkeypatch, asked, name):
    table = SimpleNamespace(to_pandas=lambda: pd.DataFrame({"text": ["one", "two"]}))
    monkeypatch.setattr(corpora, "fetch", lambda *_: {"train": table})
    assert corpora.load(asked).name == name


def test_digest_is_the_same_for_every_format_and_changes_with_a_row(tmp_path):
    path = write_sts(tmp_path / "a.csv", [0, 2.5, 5])
    frame = pd.read_csv(path)
    frame.to_parquet(tmp_path / "b.parquet")
    frame.to_json(tmp_path / "c.jsonl", orient="records", lines=True)
    digests = {name: corpora.load(str(tmp_path / name)).digest for name in ("a.csv", "b.parquet", "c.jsonl")}
    assert len(set(digests.values())) == 1
    write_sts(path, [0, 2.5, 4.9])
    assert corpora.load(str(path)).digest != digests["a.csv"]


def test_only_positive_pairs_are_trained_on(tmp_path):
    write_pairs(tmp_path / "p" / "train.csv", ["entailment", "neutral", "entailment"])
    corpus = corpora.load("p", tmp_path)
    assert corpus.columns["anchor"] == ["a 0", "a 2"]
    assert "2 pairs of the positive class 'entailment' are kept, 1 left out" in corpus.notes[1]
    write_pairs(tmp_path / "q" / "train.csv", ["same", "other", "same"])
    fails("q", tmp_path, "the positive class is not known")
    (tmp_path / "q" / "task.toml").write_text('positive = "same"', encoding="utf-8")
    assert len(corpora.load("q", tmp_path)) == 2


def test_a_bad_pair_is_told_by_its_row_in_the_file(tmp_path):
    rows = [["a", "b", "0"], ["c", "", "0"], ["d", "", "1"], ["e", "f", "1"], ["g", "h", "1"]]
    write_csv(tmp_path / "p" / "train.csv", ["anchor", "positive", "label"], rows)
    fails("p", tmp_path, "'positive' is empty in row 3 (found '')")
    write_csv(tmp_path / "p" / "train.csv", ["anchor", "positive", "label"], [*rows[:2], *rows[3:]])
    assert corpora.load("p", tmp_path).columns == {"anchor": ["e", "g"], "positive": ["f", "h"]}


def test_repeated_rows_are_kept_and_counted(tmp_path):
    write_csv(tmp_path / "r" / "train.csv", ["text"], [["one"], ["two"], ["one"]])
    corpus = corpora.load("r", tmp_path)
    assert len(corpus) == 3
    assert "1 of 3 rows repeat an earlier one" in corpus.notes[1]


def test_what_repeats_is_said_as_it_trains(tmp_path):
    triplets = [["a", "p", "n"], ["a", "p", "m"], ["b", "q", "n"]]  # another negative makes no other positive
    write_csv(tmp_path / "t" / "train.csv", ["anchor", "positive", "negative"], triplets)
    told = "1 of 3 rows repeat the anchor and positive of an earlier one; in a batch they are false negatives"
    assert told in corpora.load("t", tmp_path).notes[1]
    scored = [["a", "b", "1"], ["a", "b", "2"], ["c", "d", "3"]]  # CoSENT has no negatives
    write_csv(tmp_path / "s" / "train.csv", ["sentence1", "sentence2", "score"], scored)
    assert corpora.load("s", tmp_path).notes[1].endswith("1 of 3 rows repeat the texts of an earlier one")


def test_scored_splits_are_never_trained_on(tmp_path):
    write_sts(tmp_path / "s" / "test.csv", [0, 5])
    fails("s", tmp_path, "unknown corpus")
    fails(str(tmp_path / "s"), None, "no train file to train on; it has test")
    write_classes(tmp_path / "c" / "all.csv", ["x", "y"] * 50)  # cut into train and test when it is a task
    write_beir(tmp_path / "b", {"train": [("q0", "d0", 1), ("q1", "d1", 1)]})
    assert not {"s", "c", "b"} & set(corpora.known(tmp_path))


@pytest.mark.parametrize(
    ("header", "rows", "told"),
    [
        (["txt"], [["a"], ["b"]], "the columns txt are those of no corpus"),
        (["text"], [["a"]], "1 row, at least 2 are needed"),
        (["text"], [], "no rows, at least 2 are needed"),
        (["anchor", "positive"], [["a", "b"], ["c", ""]], "'positive' is empty in row 2"),
        (["sentence1", "sentence2", "score"], [["a", "b", "1"], ["c", "d", "x"]], "not a finite number in row 2"),
    ],
)
def test_bad_corpora_are_refused(tmp_path, header, rows, told):
    write_csv(tmp_path / "bad" / "train.csv", header, rows)
    fails("bad", tmp_path, str(tmp_path / "bad" / "train.csv"), told)


def test_a_column_renamed_to_one_that_is_there_is_told(tmp_path):
    write_csv(tmp_path / "mine" / "train.csv", ["body", "text"], [["one", "x"], ["two", "y"], ["three", "z"]])
    (tmp_path / "mine" / "task.toml").write_text('[columns]\nbody = "text"', encoding="utf-8")
    fails("mine", tmp_path, "train.csv", "'body' and 'text' would both be the column 'text'")
    (tmp_path / "mine" / "task.toml").write_text("[columns]\nbody = 3", encoding="utf-8")
    fails("mine", tmp_path, "task.toml", "[columns] body is 3, not text")


def test_text_is_never_made_of_what_is_not(tmp_path):
    pd.DataFrame({"text": [b"hello", "grüße".encode()]}).to_parquet(tmp_path / "a.parquet")
    assert list(corpora.load(str(tmp_path / "a.parquet")).columns["anchor"]) == ["hello", "grüße"]
    pd.DataFrame({"text": [b"hello", b"caf\xe9"]}).to_parquet(tmp_path / "b.parquet")
    fails(str(tmp_path / "b.parquet"), None, r"'text' holds bytes that are not UTF-8 in row 2 (found b'caf\xe9')")
    (tmp_path / "c.jsonl").write_text('{"text": "one"}\n{"text": ["two", "three"]}\n', encoding="utf-8")
    fails(str(tmp_path / "c.jsonl"), None, "'text' holds a list, not text, in row 2 (found ['two', 'three'])")


def test_an_unknown_corpus_has_its_close_names(tmp_path):
    write_csv(tmp_path / "union" / "train.csv", ["text"], [["one"], ["two"]])
    fails("unoin", tmp_path, "unknown corpus 'unoin'", "did you mean union")
    fails("../union", tmp_path, "there is no file or folder of training text '../union'")
    fails("toy-pair", None, "did you mean toy-pairs")


def test_corpora_equal_nothing_but_themselves():
    corpus = corpora.load("toy")
    assert hash(corpus) != hash(corpora.load("toy"))
