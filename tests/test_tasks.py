"""The user's own folders: what they become, and what is said about bad ones."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from task_files import write_beir, write_classes, write_csv, write_objects, write_pairs, write_sts

from mipic_bench import corpora, tasks
from mipic_bench.commands.listing import check_all
from mipic_bench.errors import UserError


def fails(name, data, *told):
    """Load a task that must be refused; every part of the message must be there."""
    with pytest.raises(UserError) as error:
        tasks.load(name, data)
    for part in told:
        assert part in str(error.value), str(error.value)
    assert error.value.where
    assert error.value.fix


def test_the_family_is_inferred_and_said(tmp_path):
    write_sts(tmp_path / "s" / "test.csv", [0, 2.5, 5])
    write_pairs(tmp_path / "p" / "test.csv", [0, 1, 1])
    write_classes(tmp_path / "c" / "test.csv", ["a", "b"])
    write_beir(tmp_path / "r", {"test": [("q0", "d0", 1), ("q1", "d1", 1)]})
    write_csv(tmp_path / "unlabelled" / "train.csv", ["text"], [["one"], ["two"]])
    (tmp_path / "notes").mkdir()
    assert tasks.found(tmp_path) == {"c": "classification", "p": "pair", "r": "retrieval", "s": "sts"}
    data = tasks.load("s", tmp_path)
    assert data.family == "sts"
    assert data.source == "local:s"
    assert "family sts" in data.notes[0]
    assert data.splits["test"]["score"].tolist() == [0.0, 2.5, 5.0]


def test_a_path_is_a_name_too(tmp_path, monkeypatch):
    write_sts(tmp_path / "mine" / "reviews" / "test.csv", [0, 2, 5])
    monkeypatch.chdir(tmp_path)
    by_path = tasks.load("mine/reviews")
    assert by_path.name == "reviews"
    assert by_path.digest == tasks.load("reviews", tmp_path / "mine").digest
    assert tasks.load(str(tmp_path / "mine" / "reviews")).digest == by_path.digest
    file = tasks.load("mine/reviews/test.csv")  # one file: all rows are scored
    assert (file.name, file.digest) == ("reviews", by_path.digest)


@pytest.mark.parametrize("name", ["..", "../..", "../data", "", ".", "/", "a/../../b"])
def test_a_name_does_not_climb_out_of_the_data_folder(tmp_path, name):
    write_sts(tmp_path / "secret" / "test.csv", [0, 2, 5])
    (tmp_path / "data").mkdir()
    fails(name, tmp_path / "data", "unknown task")


def test_an_unknown_task_has_its_close_names(tmp_path):
    write_sts(tmp_path / "reviews" / "test.csv", [0, 2, 5])
    fails("review", tmp_path, "unknown task 'review'", "did you mean reviews")
    fails("stbs", None, "did you mean stsb")


def test_a_missing_data_folder_is_told(tmp_path):
    fails("stsb", tmp_path / "none", "--data", "no such folder")


def test_a_folder_that_cannot_be_read_is_passed_over_unless_it_is_asked_for(tmp_path, monkeypatch):
    write_sts(tmp_path / "reviews" / "test.csv", [0, 2, 5])
    (tmp_path / "lost+found").mkdir()
    iterdir = Path.iterdir

    def refused(self):
        if self.name == "lost+found":
            raise PermissionError(13, "Permission denied", str(self))
        return iterdir(self)

    monkeypatch.setattr(Path, "iterdir", refused)  # root may read everything
    assert tasks.every(tmp_path) == ["reviews"]
    assert corpora.found(tmp_path) == {}
    assert "lost+found (cannot be read: Permission denied)" in str(check_all([], tmp_path))
    fails("lost+found", tmp_path, "lost+found: cannot be read: Permission denied")


def test_a_local_folder_serves_a_registry_name(tmp_path):
    write_pairs(tmp_path / "scitail" / "test.csv", ["entails", "neutral"])
    data = tasks.load("scitail", tmp_path)
    assert data.source == "local:scitail"
    assert data.splits["test"]["label"].tolist() == [1, 0]


def test_digest_is_the_same_for_every_format_and_changes_with_a_row(tmp_path):
    path = write_sts(tmp_path / "a" / "test.csv", [0, 2.5, 5])
    frame = pd.read_csv(path)
    for name in ("b", "c"):
        (tmp_path / name).mkdir()
    frame.to_parquet(tmp_path / "b" / "test.parquet")
    frame.to_json(tmp_path / "c" / "test.jsonl", orient="records", lines=True)
    digests = {name: tasks.load(name, tmp_path).digest for name in "abc"}
    assert len(set(digests.values())) == 1
    write_sts(path, [0, 2.6, 5])
    assert tasks.load("a", tmp_path).digest != digests["a"]


def test_digest_changes_with_a_class_name_a_document_or_a_query(tmp_path):
    def digests():
        return [tasks.load(name, tmp_path).digest for name in ("c", "r")]

    def documents(last):
        return [*_documents(3), {"_id": "d3", "text": last}]

    folder = write_beir(tmp_path / "r", {"test": [("q0", "d0", 1), ("q1", "d1", 1)]})
    write_objects(folder / "corpus.jsonl", documents("not judged"))
    write_classes(tmp_path / "c" / "test.csv", ["a", "b"])
    found = [digests()]
    write_classes(tmp_path / "c" / "test.csv", ["a", "c"])
    write_objects(folder / "corpus.jsonl", documents("and changed"))
    found.append(digests())
    write_objects(folder / "queries.jsonl", [{"_id": "q0", "text": "one"}, {"_id": "q1", "text": "query 1"}])
    found.append(digests())
    assert [len({one[place] for one in found}) for place in (0, 1)] == [2, 3]


def test_an_extra_column_is_ignored(tmp_path):
    plain = write_pairs(tmp_path / "a" / "test.csv", [0, 1])
    frame = pd.read_csv(plain).assign(word=["x", "y"])
    (tmp_path / "b").mkdir()
    frame.to_csv(tmp_path / "b" / "test.csv", index=False)
    assert tasks.load("a", tmp_path).digest == tasks.load("b", tmp_path).digest


def test_a_split_in_a_format_that_is_not_read_is_told_not_passed_over(tmp_path):
    write_classes(tmp_path / "task" / "train.csv", ["a", "b"] * 40)
    (tmp_path / "task" / "test.csv.gz").write_bytes(b"")
    with pytest.raises(UserError, match=r"named like the split 'test', and '\.gz' files are not read"):
        tasks.load("task", tmp_path)
    assert tasks.known(tmp_path).get("task") != "classification"
    (tmp_path / "task" / "test.csv.gz").unlink()
    write_classes(tmp_path / "task" / "Test.csv", ["a", "b"])
    assert len(tasks.load("task", tmp_path).splits["test"]) == 2
    (tmp_path / "task" / "notes.gz").write_bytes(b"")
    write_classes(tmp_path / "task" / "test.before.csv", ["a", "b"])  # the name of no split
    (tmp_path / "task" / "train.json").write_text("{}")  # beside a train.csv that is read
    assert set(tasks.load("task", tmp_path).splits) == {"train", "test"}


def test_words_that_only_a_computer_takes_for_numbers_are_names(tmp_path):
    write_classes(tmp_path / "tongues" / "test.csv", ["nan", "inf", "1_0"])
    assert tasks.load("tongues", tmp_path).labels == ("1_0", "inf", "nan")


def test_class_numbers_follow_the_names(tmp_path):
    write_classes(tmp_path / "words" / "test.csv", ["b", "a", "b"])
    assert tasks.load("words", tmp_path).labels == ("a", "b")
    write_classes(tmp_path / "numbers" / "test.csv", [10, 2, 0])
    data = tasks.load("numbers", tmp_path)
    assert data.labels == ("0", "2", "10")
    assert data.splits["test"]["label"].tolist() == [2, 1, 0]


@pytest.mark.parametrize(
    ("labels", "wanted"),
    [
        ([0, 1], [0, 1]),
        (["true", "false"], [1, 0]),
        (["Entailment", "not_entailment"], [1, 0]),
        (["neutral", "entails"], [0, 1]),
        (["paraphrase", "other", "another"], [1, 0, 0]),
        (["unique", "duplicate"], [0, 1]),
    ],
)
def test_known_words_are_the_positive_class(tmp_path, labels, wanted):
    write_pairs(tmp_path / "p" / "test.csv", labels)
    assert tasks.load("p", tmp_path).splits["test"]["label"].tolist() == wanted


def test_unknown_words_ask_for_the_positive_class(tmp_path):
    folder = tmp_path / "p"
    write_pairs(folder / "test.csv", ["same", "different"])
    fails("p", tmp_path, "'different', 'same'", 'positive = "..."')
    (folder / "task.toml").write_text('positive = "sme"', encoding="utf-8")
    fails("p", tmp_path, "'sme'", "did you mean same")
    (folder / "task.toml").write_text('positive = "same"', encoding="utf-8")
    assert tasks.load("p", tmp_path).splits["test"]["label"].tolist() == [1, 0]


def test_task_toml_says_what_columns_cannot(tmp_path):
    folder = tmp_path / "t"
    write_classes(folder / "test.csv", ["a", "b", "a"])
    (folder / "task.toml").write_text('family = "clustering"', encoding="utf-8")
    assert tasks.found(tmp_path) == {"t": "clustering"}
    assert tasks.load("t", tmp_path).family == "clustering"
    write_csv(tmp_path / "n" / "test.csv", ["premise", "hypothesis", "score"], [["a", "b", 0], ["c", "d", 100]])
    settings = 'range = [0, 100]\n[columns]\npremise = "sentence1"\nhypothesis = "sentence2"'
    (tmp_path / "n" / "task.toml").write_text(settings, encoding="utf-8-sig")  # a byte order mark is no part of it
    assert tasks.load("n", tmp_path).family == "sts"


@pytest.mark.parametrize(
    ("toml", "told"),
    [
        ('famly = "sts"', "did you mean family"),
        ('family = "stss"', "did you mean sts"),
        ("positive = 1", "positive is a int, not a str"),
        ("range = [5, 0]", "two rising numbers"),
        ("range = [false, true]", "two rising numbers"),
        ("[columns]\nscore = 3", "[columns] score is 3, not text"),
        ("family = ", "not TOML"),
    ],
)
def test_a_bad_task_toml_is_told(tmp_path, toml, told):
    write_sts(tmp_path / "s" / "test.csv", [0, 5])
    (tmp_path / "s" / "task.toml").write_text(toml, encoding="utf-8")
    fails("s", tmp_path, "task.toml", told)


def test_two_columns_of_one_name_are_told_with_both(tmp_path):
    header, rows = ["body", "text", "label"], [["real one", "other", "a"], ["real two", "other", "b"]]
    for split in ("train", "test"):
        write_csv(tmp_path / "t" / f"{split}.csv", header, rows)
    (tmp_path / "t" / "task.toml").write_text('[columns]\nbody = "text"', encoding="utf-8")
    told = "'body' and 'text' would both be the column 'text'"
    fails("t", tmp_path, f"train.csv: {told}", f"test.csv: {told}")
    (tmp_path / "t" / "task.toml").write_text('[columns]\nbody = "text"\ntext = "old"', encoding="utf-8")
    assert tasks.load("t", tmp_path).splits["test"]["text"].tolist() == ["real one", "real two"]


@pytest.mark.parametrize(
    ("header", "rows", "told"),
    [
        (["sentence1", "sentence2", "scor"], [["a", "b", 1], ["c", "d", 2]], "no column 'score'"),
        (["text", "lable"], [["a", 1], ["b", 2]], "no column 'label'"),
        (["sentence1", "sentence2", "score"], [["a", "b", 1], ["c", "d", "nan"]], "not a finite number in row 2"),
        (["sentence1", "sentence2", "score"], [["a", "b", 1], ["c", "d", 5.5]], "outside 0 to 5 in row 2"),
        (["sentence1", "sentence2", "score"], [["a", "b", 1], ["c", "d", 1]], "every 'score' is 1"),
        (["sentence1", "sentence2", "score"], [["a", "b", 1]], "1 row, at least 2"),
        (["sentence1", "sentence2", "score"], [], "no rows, at least 2"),
        (["sentence1", "sentence2", "score"], [["a", "b", 1], ["c", "", 2]], "'sentence2' is empty in row 2"),
        (["sentence1", "sentence2", "label"], [["a", "b", 1], ["c", "d", 2]], "label 2 is outside 0 to 1"),
        (["sentence1", "sentence2", "label"], [["a", "b", 1], ["c", "d", 1]], "one class only"),
        (["sentence1", "sentence2", "label"], [["a", "b", 1], ["c", "d", ""]], "'label' is empty in row 2"),
        (["text", "label"], [["a", "x"], ["b", "x"]], "one class only"),
        (["text", "label"], [["a", 1], ["b", -1]], "label -1 in row 2 is outside 0, 1, 2"),
        (["text", "label"], [["a", 1], ["b", 0.5]], "label 0.5 in row 2"),
    ],
)
def test_bad_rows_are_refused(tmp_path, header, rows, told):
    write_csv(tmp_path / "bad" / "test.csv", header, rows)
    assert "bad" in tasks.found(tmp_path)
    fails("bad", tmp_path, str(tmp_path / "bad" / "test.csv"), told)


def test_problems_of_several_files_come_at_once(tmp_path):
    write_sts(tmp_path / "s" / "train.csv", [0, "x", 5])
    write_sts(tmp_path / "s" / "test.csv", [0, 9])
    fails("s", tmp_path, "train.csv", "row 2", "test.csv", "outside")


def test_a_broken_encoding_is_told(tmp_path):
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "test.csv").write_bytes("sentence1,sentence2,score\ncafé,b,1\n".encode("latin-1"))
    fails("s", tmp_path, "0xe9 on line 2", "UTF-8")


def test_an_empty_file_is_told(tmp_path):
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "test.csv").touch()
    assert tasks.found(tmp_path) == {"s": "?"}
    fails("s", tmp_path, "the file is empty")


def test_a_test_label_that_training_lacks_is_told(tmp_path):
    write_classes(tmp_path / "c" / "train.csv", ["cat", "dog", "cat"])
    write_classes(tmp_path / "c" / "test.csv", ["cat", "dgo", "dgo"])
    fails("c", tmp_path, "'dgo' (2 rows) never occurs in the 2 classes of train", "did you mean dog")


def test_one_split_in_two_files_is_told(tmp_path):
    write_sts(tmp_path / "s" / "dev.csv", [0, 1])
    write_sts(tmp_path / "s" / "validation.csv", [0, 1])
    fails("s", tmp_path, "two files hold the split 'dev'")


# --- retrieval ------------------------------------------------------------------------------------------------------


def test_a_beir_folder_is_read_as_mteb_reads_it(tmp_path):
    write_beir(tmp_path / "r", {"test": [("q0", "d0", 2), ("q1", "d1", 1), ("q1", "d2", 0)]}, queries=5)
    write_objects(tmp_path / "r" / "corpus.jsonl", [{"_id": 0, "text": "no title"}, *_documents(3)])
    data = tasks.load("r", tmp_path)
    assert data.documents["0"] == "no title"
    assert data.documents["d1"] == "Title 1 document 1"
    assert set(data.queries) == {"q0", "q1"}
    assert any("3 of 5 queries have no judgement" in note for note in data.notes)
    assert data.splits["test"]["relevance"].tolist() == [2, 1, 0]


def test_queries_without_a_relevant_document_are_left_out_and_counted(tmp_path):
    write_beir(tmp_path / "r", {"test": [("q0", "d0", 1), ("q1", "d1", 1), ("q2", "d2", 0)]})
    data = tasks.load("r", tmp_path)
    assert set(data.splits["test"]["query_id"]) == {"q0", "q1"}
    assert any("1 of 3 queries have no relevant document" in note for note in data.notes)


def test_judgements_are_told_apart_whatever_their_ids_hold(tmp_path):
    write_beir(tmp_path / "r", {"test": [("a", "b / c", 1), ("a / b", "c", 1)]})
    for file, ids in (("corpus", ["b / c", "c"]), ("queries", ["a", "a / b"])):
        write_objects(tmp_path / "r" / f"{file}.jsonl", [{"_id": name, "text": f"text {name}"} for name in ids])
    assert len(tasks.load("r", tmp_path).splits["test"]) == 2


@pytest.mark.parametrize(
    ("qrels", "told"),
    [
        ([("q0", "d0", 1), ("q9", "d1", 1)], "query id 'q9' in row 2 is not among the 3 query ids"),
        ([("q0", "d0", 1), ("q1", "d9", 1)], "document id 'd9' in row 2 is not among the 4 document ids"),
        ([("q0", "d0", 1), ("q1", "d1", "x")], "not a finite number in row 2"),
        ([("q0", "d0", 1), ("q1", "d1", 0.5)], "relevance 0.5 in row 2 is not a whole number"),
        ([("q0", "d0", 1), ("q0", "d0", 2), ("q1", "d1", 1)], "'q0 / d0' stands on rows 1 and 2"),
        ([("q0", "d0", 1)], "1 query with a relevant document"),
        ([("q0", "d0", 10**400), ("q1", "d1", 1)], "not a finite number in row 1"),
        ([("q0", "d0", 1), ("q1", "d1", 10**30)], "relevance 1e+30 in row 2 is beyond 2147483647"),
        ([("q0", "d0")], "row 1 has 2 cells, the header has 3"),
    ],
)
def test_bad_judgements_are_told(tmp_path, qrels, told):
    write_beir(tmp_path / "r", {"test": qrels})
    fails("r", tmp_path, "test.tsv", told)


def test_bad_documents_and_queries_are_told(tmp_path):
    folder = write_beir(tmp_path / "r", {"test": [("q0", "d0", 1), ("q1", "d1", 1)]})
    write_objects(folder / "corpus.jsonl", [*_documents(2), *_documents(1)])
    write_objects(folder / "queries.jsonl", [{"_id": "q0", "text": "one"}, {"_id": "q1", "text": " "}])
    fails("r", tmp_path, "document id 'd0' stands on rows 1 and 3", "'text' is empty in row 2")
    write_objects(folder / "queries.jsonl", [{"_id": "q0", "text": "one"}, {"_id": "q0", "text": "two"}])
    fails("r", tmp_path, "query id 'q0' stands on rows 1 and 2")
    write_objects(folder / "corpus.jsonl", [{"id": "d0", "text": "one"}])
    fails("r", tmp_path, "row 1: no column '_id'", "did you mean id")
    (folder / "queries.jsonl").unlink()
    fails("r", tmp_path, "queries.jsonl", "missing")


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"_id": None, "text": "one"}, "'_id' is empty in row 1"),
        ({"_id": "", "text": "one"}, "'_id' is empty in row 1"),
        ({"_id": ["d0"], "text": "one"}, "'_id' holds a list, not text, in row 1 (found ['d0'])"),
        ({"_id": "d0", "text": {"body": "one"}}, "'text' holds a dict, not text, in row 1"),
        ({"_id": "d0", "text": False}, "'text' holds a bool, not text, in row 1 (found False)"),
        ({"_id": "d0", "text": "one", "title": ["One"]}, "'title' holds a list, not text, in row 1"),
    ],
)
def test_documents_and_queries_that_are_no_text_are_refused(tmp_path, row, told):
    folder = write_beir(tmp_path / "r", {"test": [("q0", "d0", 1), ("q1", "d1", 1)]})
    write_objects(folder / "corpus.jsonl", [row, *_documents(3)[1:]])
    fails("r", tmp_path, "corpus.jsonl", told)
    if "title" not in row:
        write_objects(folder / "queries.jsonl", [row, {"_id": "q1", "text": "two"}])
        fails("r", tmp_path, "queries.jsonl", told)


def test_documents_may_lack_title_and_text(tmp_path):
    folder = write_beir(tmp_path / "r", {"test": [("q0", "d0", 1), ("q1", "1", 1)]})
    write_objects(folder / "corpus.jsonl", [{"_id": "d0", "title": None, "text": None}, {"_id": 1, "text": 12}])
    assert tasks.load("r", tmp_path).documents == {"d0": "", "1": "12"}


def test_a_folder_without_judgements_is_told(tmp_path):
    folder = write_beir(tmp_path / "r", {})
    fails("r", tmp_path, str(folder / "qrels"), "no judgements")


def _documents(count):
    return [{"_id": f"d{n}", "title": f"Title {n}", "text": f"document {n}"} for n in range(count)]


# --- registry and suites --------------------------------------------------------------------------------------------


def test_suites_name_tasks_that_exist(tmp_path):
    for name in tasks.SUITES:
        assert set(tasks.suite(name)) <= set(tasks.registered())
    write_sts(tmp_path / "mine" / "test.csv", [0, 5])
    assert "mine" in tasks.suite("all", tmp_path)
    assert not [name for name in tasks.suite("all") if name.startswith("toy")]
    with pytest.raises(UserError, match="did you mean paper"):
        tasks.suite("papr")


def test_loading_needs_no_torch():
    code = "import sys; from mipic_bench import tasks, corpora; from mipic_bench.planning import leakage\n"
    code += "tasks.load('toy-sts'); sys.exit('torch' in sys.modules)"
    root = Path(__file__).parents[1]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0


def test_a_column_that_has_its_name_already_is_no_guess_for_another(tmp_path):
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "test.csv").write_text("sent1,sentence2,score\na,b,1\nc,d,2\n")
    with pytest.raises(UserError) as error:
        tasks.load("p", tmp_path)
    assert "did you mean sent1?" in str(error.value)
