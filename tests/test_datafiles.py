import csv
import json

import pandas as pd
import pytest

from mipic_bench.data import checks, datafiles
from mipic_bench.errors import UserError, gather


def test_words_that_look_like_missing_values_stay_text(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('text,label\nNA,null\nnan,"None"\n"a, ""b"" c",N/A\n', encoding="utf-8")
    frame = datafiles.read(path)
    assert frame["text"].tolist() == ["NA", "nan", 'a, "b" c']
    assert frame["label"].tolist() == ["null", "None", "N/A"]


def test_the_same_rows_are_read_from_every_format(tmp_path):
    rows = {"text": ["grüße", "two\nlines", "12"], "label": ["x", "y", "x"]}
    frame = pd.DataFrame(rows)
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_parquet(tmp_path / "a.parquet")
    lines = [json.dumps(dict(zip(rows, values, strict=True))) for values in zip(*rows.values(), strict=True)]
    (tmp_path / "a.jsonl").write_text("\n\n".join(lines) + "\n", encoding="utf-8")
    for path in tmp_path.iterdir():
        assert datafiles.header(path) == ("text", "label")
        assert {name: datafiles.read(path)[name].tolist() for name in rows} == rows


def test_a_byte_order_mark_is_not_part_of_the_first_name(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xef\xbb\xbftext\r\none\r\ntwo\r\n")
    assert datafiles.header(path) == ("text",)
    assert datafiles.read(path)["text"].tolist() == ["one", "two"]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.csv", b"", "the file is empty"),
        ("a.jsonl", b" \n\n", "the file is empty"),
        ("a.parquet", b"", "the file is empty"),
        ("a.parquet", b"not parquet", "not a Parquet file"),
        ("a.csv", b"text\none\nca\xe9\n", "byte 0xe9 on line 3 (byte 11 of the file) is not UTF-8"),
        ("a.csv", b"text,label\none,1\ntwo\n", "row 2 has 1 cells, the header has 2"),
        ("a.csv", b"text,label\none,1\ntwo,2,3\n", "row 2 has 3 cells, the header has 2"),
        ("a.csv", b'text,label\none,1\n"two,2\n', "breaks the CSV rules"),
        ("a.csv", b"text,text\none,1\n", "column 'text' stands twice"),
        ("a.jsonl", b'{"text": "one"}\n{"text": \n', "line 2 is not JSON"),
        ("a.jsonl", b'{"text": "one"}\n["two"]\n', "line 2 is a list, not an object"),
        ("a.jsonl", b"[" * 100_000, "line 1 is not JSON"),
        ("a.txt", b"one\n", "'.txt' files are not read"),
    ],
)
def test_a_broken_file_is_told_with_its_place(tmp_path, name, content, told):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        datafiles.read(path)
    assert error.value.where == str(path)
    assert told in error.value.what
    assert error.value.fix


def test_a_cell_may_be_as_long_as_its_file(tmp_path):
    path, before = tmp_path / "a.csv", csv.field_size_limit()
    path.write_text(f"text\n{'word ' * 30_000}\nshort\n", encoding="utf-8")
    assert [len(text) for text in datafiles.read(path)["text"]] == [150_000, 5]
    assert csv.field_size_limit() == before
    path.write_text(f'text\n"{"word " * 30_000}\nshort\n', encoding="utf-8")
    with pytest.raises(UserError, match="look for an unclosed quote"):
        datafiles.read(path)
    assert csv.field_size_limit() == before


def test_a_missing_file_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        datafiles.read(tmp_path / "none.csv")


def test_missing_columns_are_told_together_with_close_names():
    frame = pd.DataFrame({"sentence_1": ["a"], "sentence2": ["b"], "scor": [1]})
    with pytest.raises(UserError) as error:
        checks.require(frame, ("sentence1", "sentence2", "score"), "f.csv")
    text = str(error.value)
    assert "no column 'sentence1'" in text
    assert "did you mean sentence_1" in text
    assert "no column 'score'" in text
    assert "did you mean scor?" in text


@pytest.mark.parametrize(
    ("text", "sign"), [("text;label\nhello, world;1\nbye;0\n", "semi"), ("text\tlabel\nbye\t0\n", "tabs")]
)
def test_semicolons_are_suspected_when_the_header_is_one_cell(tmp_path, text, sign):
    (tmp_path / "f.csv").write_text(text)
    with pytest.raises(UserError, match=f"{sign}(?s:.*)separate the columns by commas"):
        datafiles.read(tmp_path / "f.csv")


@pytest.mark.parametrize("value", ["nan", "NaN", "", None, float("nan"), "inf", "good", "3,5", 10**400])
def test_what_is_not_a_finite_number_is_named_by_its_row(value):
    frame = pd.DataFrame({"score": pd.Series(["1", "2.5", value], dtype=object)})
    with pytest.raises(UserError, match=r"'score' is not a finite number in row 3"):
        checks.numbers(frame, "score", "f.csv")


def test_numbers_outside_the_scale_are_counted():
    frame = pd.DataFrame({"score": ["1", "7", "-1", "6", "9"]})
    with pytest.raises(UserError, match=r"outside 0 to 5 in rows 2, 3, 4 and 1 more \(found '7'\)"):
        checks.numbers(frame, "score", "f.csv", 0, 5)


def test_empty_and_torn_texts_are_refused():
    with pytest.raises(UserError, match="'text' is empty in rows 2, 3"):
        checks.texts(pd.DataFrame({"text": pd.Series(["a", " \t", None], dtype=object)}), "text", "f.csv")
    with pytest.raises(UserError, match="half of a surrogate pair in row 1"):
        checks.texts(pd.DataFrame({"text": pd.Series([json.loads(r'"\ud800"'), "b"], dtype=object)}), "text", "f.csv")


@pytest.mark.parametrize("value", [["a"], ("a",), {"a": 1}, True, b"\xe9"])
def test_cells_that_are_not_text_are_refused(value):
    frame = pd.DataFrame({"text": pd.Series(["a", 12, value], dtype=object)})
    with pytest.raises(UserError, match=r"'text' holds .* in row 3 \(found .*\)") as error:
        checks.texts(frame, "text", "f")
    assert repr(value) in error.value.what
    assert checks.texts(frame[:2], "text", "f") == ["a", "12"]


def test_labels_that_are_lists_are_refused():
    frame = pd.DataFrame({"label": pd.Series([["x", "y"], b"z"], dtype=object)})
    with pytest.raises(UserError, match="'label' holds a list, not text, in row 1"):
        checks.labels(frame, "label", "f")
    assert checks.labels(frame[1:], "label", "f") == ["z"]


def test_labels_are_the_same_whatever_type_they_were_stored_as():
    frame = pd.DataFrame({"label": pd.Series([1, 1.0, "1", " 1.0", "2.50", True, " yes "], dtype=object)})
    assert checks.labels(frame, "label", "f") == ["1", "1", "1", "1", "2.50", "true", "yes"]


def test_all_problems_are_gathered():
    def bad(number):
        raise UserError(f"file {number}", "wrong", "mend it")

    with pytest.raises(UserError) as error:
        gather([lambda: 1, lambda: bad(1), lambda: bad(2)])
    assert "file 1" in str(error.value)
    assert "file 2" in str(error.value)
    assert gather([lambda: 1, lambda: 2]) == [1, 2]
