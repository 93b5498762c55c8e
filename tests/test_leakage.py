"""Overlap of a corpus with what is scored."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from small_sweeps import planned, request, swept, write_data
from task_files import write_beir, write_csv, write_sts

from mipic_bench import corpora, tasks
from mipic_bench.analysis.tables import MISSING
from mipic_bench.errors import UserError
from mipic_bench.planning.leakage import excluded, leakage, normalized
from mipic_bench.planning.plan import plan
from mipic_bench.planning.request import Inputs
from mipic_bench.recipes.methods import find
from mipic_bench.reporting.leakage import Leakage
from mipic_bench.results import folder as results


def corpus_of(tmp_path, header, rows):
    return corpora.load(str(write_csv(tmp_path / "corpus.csv", header, rows)))


def fold_of(tmp_path, rows):
    write_csv(tmp_path / "task" / "test.csv", ["sentence1", "sentence2", "score"], rows)
    return tasks.fold(tasks.load("task", tmp_path))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("A man is eating.", "a man  is eating"),
        ("It's 5 o'clock!", "Its 5 oclock"),
        ("ﬁne café", "FINE CAFÉ"),  # a ligature is two letters after NFKC
        ("Straße", "STRASSE"),
        ("state-of-the-art", "state of the art"),
        ("under_score", "underscore"),
    ],
)
def test_near_exact_texts_are_equal_when_normalized(first, second):
    assert normalized(first) == normalized(second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("किताब", "कतब"),  # Hindi: a book, and two letters less
        ("की", "के"),  # Hindi: of, feminine and masculine
        ("কি", "কী"),  # Bengali: whether, and what
        ("தமிழ்", "தமிழா"),  # Tamil
        ("ไม่", "ไม้"),  # Thai: not, and wood
    ],
)
def test_vowel_signs_tell_words_apart(first, second):
    assert normalized(first) != normalized(second)
    assert normalized(f"  {first}, {first}!") == normalized(f"{first} {first}")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("I love it ❤\ufe0f!", "i love it"),  # what makes a heart an emoji
        ("1\ufe0f\u20e3 first", "1 first"),
        ("don´t", "don't"),  # NFKC makes a space and an accent of it
        ("cafe\u0301", "café"),
        ("x\u0302 = 2", "x=2"),
        ("İstanbul", "Istanbul"),
    ],
)
def test_accents_and_emojis_of_english_text_go_as_ever(first, second):
    assert normalized(first) == normalized(second)


def test_texts_of_punctuation_alone_are_not_all_equal():
    assert normalized("!!!") != normalized("???")
    assert normalized("…") != normalized("—")
    assert normalized("a b") != normalized("a c")


def test_rows_texts_and_pairs_are_counted(tmp_path):
    fold = fold_of(
        tmp_path,
        [
            ["One cat.", "Two dogs.", 1],  # the same pair, the other way round and in other letters
            ["One cat.", "Three birds.", 2],  # one side
            ["ONE CAT", "Five mice", 3],  # both sides, from two rows
            ["Six", "Seven", 4],
        ],
    )
    corpus = corpus_of(tmp_path, ["anchor", "positive"], [["two dogs", "one cat"], ["Five mice", "Nine"]])
    found = leakage(corpus, fold)
    assert found.mask.tolist() == [True, True, True, False]
    assert (found.rows, found.leaked_rows, found.whole_rows, found.paired_rows) == (4, 3, 2, 1)
    assert found.exact_rows == 1  # "Five mice"
    assert (found.texts, found.leaked_texts) == (7, 4)
    assert "mask" not in found.counts()
    assert "3 of 4 scored rows (75.0 %)" in found.sentence()
    assert "(1 as the same pair)" in found.sentence()
    assert "pair" not in replace(found, paired_rows=None).sentence()


def test_a_negative_stands_beside_its_anchor_too(tmp_path):
    fold = fold_of(tmp_path, [["a", "n", 1], ["p", "n", 2]])
    found = leakage(corpus_of(tmp_path, ["anchor", "positive", "negative"], [["a", "p", "n"], ["b", "q", "m"]]), fold)
    assert (found.whole_rows, found.paired_rows) == (2, 1)  # a positive and a negative are no pair


def test_a_clean_corpus_leaves_everything(tmp_path):
    fold = fold_of(tmp_path, [["a", "b", 1], ["c", "d", 2]])
    found = leakage(corpus_of(tmp_path, ["text"], [["x"], ["y"]]), fold)
    assert not found.mask.any()
    assert excluded(fold, found).score.equals(fold.score)


def test_leaked_rows_are_left_out_and_counted(tmp_path):
    fold = fold_of(tmp_path, [["a", "b", 1], ["c", "d", 2], ["e", "f", 3]])
    found = leakage(corpus_of(tmp_path, ["text"], [["C"], ["y"]]), fold)
    kept = excluded(fold, found)
    assert kept.score["score"].tolist() == [1.0, 3.0]
    assert "1 of 3 rows with a text of corpus are left out" in kept.notes[-1]


def test_too_little_left_is_told(tmp_path):
    fold = fold_of(tmp_path, [["a", "b", 1], ["c", "d", 2]])
    found = leakage(corpus_of(tmp_path, ["text"], [["C"], ["y"]]), fold)
    with pytest.raises(UserError, match="without the 1 leaked of 2 rows, 1 are left"):
        excluded(fold, found)


def test_retrieval_rows_leak_by_their_query(tmp_path):
    write_beir(tmp_path / "r", {"test": [("q0", "d0", 1), ("q0", "d1", 1), ("q1", "d1", 1), ("q2", "d2", 1)]})
    fold = tasks.fold(tasks.load("r", tmp_path))
    found = leakage(corpus_of(tmp_path, ["text"], [["Query 0?"], ["Title 3: document 3"]]), fold)
    assert found.mask.tolist() == [True, True, False, False]
    assert (found.texts, found.leaked_texts) == (7, 2)  # 3 queries and 4 documents; one of each
    assert set(excluded(fold, found).score["query_id"]) == {"q1", "q2"}


def test_the_mask_agrees_with_a_plain_loop():
    corpus = corpora.load("toy-scored")
    fold = tasks.fold(tasks.load("toy-sts"))
    rows = fold.score.copy()
    rows.loc[::3, "sentence2"] = [corpus.columns["anchor"][n].upper() for n in range(len(rows[::3]))]
    fold = tasks.Fold(fold.data, fold.split, None, None, rows)
    seen = {normalized(text) for column in corpus.columns.values() for text in column}
    plain = [
        normalized(a) in seen or normalized(b) in seen
        for a, b in zip(rows["sentence1"], rows["sentence2"], strict=True)
    ]
    assert leakage(corpus, fold).mask.tolist() == plain == [n % 3 == 0 for n in range(len(rows))]
    assert isinstance(leakage(corpus, fold).mask, np.ndarray)


def test_sts_train_against_its_own_test(tmp_path):
    write_sts(tmp_path / "s" / "train.csv", [0, 1, 2])
    write_sts(tmp_path / "s" / "test.csv", [0, 1])
    found = leakage(corpora.load("s", tmp_path), tasks.fold(tasks.load("s", tmp_path)))
    assert (found.leaked_rows, found.paired_rows, found.exact_rows) == (2, 2, 2)


def test_a_folder_that_is_trained_on_and_scored_is_told(tmp_path):
    rows = [(f"text {number}", f"so {number}", number % 2) for number in range(60)]
    write_csv(tmp_path / "data" / "both" / "train.csv", ["sentence1", "sentence2", "label"], rows)
    asked = replace(request(tmp_path), corpora=("both",), tasks=("both",))
    inputs = Inputs(asked)
    [told] = [note for note in inputs.notes(plan(asked, inputs)) if "scored as a task too" in note]
    assert told.startswith(
        "corpus both is scored as a task too: 3 of 6 scored rows (50.0 %)"
    )  # pairs labelled 1 are trained on
    write_data(tmp_path / "data")
    asked = replace(asked, tasks=("likeness",))
    assert not any("scored as" in note for note in Inputs(asked).notes(plan(asked, Inputs(asked))))


def test_a_run_leaves_leaked_rows_out_as_a_protocol_of_its_own(tmp_path):
    data = tmp_path / "data"
    write_data(data)
    asked = replace(request(tmp_path), methods=tuple(find(["pretrained", "mrl"])))
    leaked = tasks.load("likeness", data).splits["test"]["sentence1"].iloc[0]
    write_csv(
        data / "pairs" / "train.csv",
        ["anchor", "positive"],
        [[f"word {i}", f"words {i}"] for i in range(8)] + [[leaked, "x"]],
    )
    without = replace(asked, exclude_leaked=True)
    assert not swept(asked).failed
    assert {cell.reason for cell in planned(without)} == {"likeness: not scored yet"}
    assert not swept(without).failed
    assert {cell.status for cell in planned(without)} == {cell.status for cell in planned(asked)} == {"done"}
    rows = results.read(asked.results).rows()
    counts = rows.groupby("protocol")["n"].unique()
    assert counts["clean-without-pairs"][0] < counts["clean"][0]
    assert set(rows["protocol"]) == {"clean", "clean-without-pairs"}
    counted = [
        entry["leakage"]["leaked_rows"]
        for record in results.read(asked.results).provenance().values()
        for entry in record["scored"]
        if "leakage" in entry
    ]
    assert counted == [counted[0]] * 2 and counted[0] > 0  # of the whole split, whatever was left out of it


def test_rows_without_leaked_ones_are_scored_anew_when_the_corpus_changes(tmp_path):
    write_data(tmp_path / "data")
    asked = request(tmp_path, methods=("pretrained",), exclude_leaked=True)
    write_csv(asked.data / "pairs" / "train.csv", ["anchor", "positive"], [["a", "b"], ["c", "d"]])
    assert not swept(asked).failed
    leaked = tasks.load("likeness", asked.data).splits["test"]["sentence1"].iloc[0]
    write_csv(asked.data / "pairs" / "train.csv", ["anchor", "positive"], [["a", "b"], ["c", leaked]])
    [cell] = planned(asked)
    assert cell.status == "pending" and "its data changed" in cell.reason


def test_the_report_leaves_pairs_that_were_not_counted_empty():
    counts = {"rows": 4, "leaked_rows": 2, "exact_rows": 1, "leaked_texts": 2, "texts": 8}
    scored = [
        {"family": "sts", "task": name, "split": "test", "leakage": {**counts, "paired_rows": paired}}
        for name, paired in (("mteb:STS12", None), ("sts12", 1))
    ]
    view = SimpleNamespace(provenance={"run": {"cell": {"corpus": "toy"}, "scored": scored}})
    [_, shown] = Leakage().blocks(SimpleNamespace(view=view))
    assert [line.split(",")[-3] for line in shown.table.csv().splitlines()] == ["paired_rows", "", "1"]
    assert [cells[8] for cells in shown.table.cells] == [MISSING, "1"]


def test_leaked_rows_of_several_corpora_at_once_are_refused(tmp_path):
    write_data(tmp_path / "data")
    with pytest.raises(UserError, match="one --corpus per command"):
        planned(replace(request(tmp_path), exclude_leaked=True, corpora=("pairs", "toy")))
