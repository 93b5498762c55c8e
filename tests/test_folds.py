"""Which rows are fitted, tuned and scored."""

import pandas as pd
import pytest
from task_files import write_beir, write_classes, write_pairs, write_sts

from mipic_bench import tasks
from mipic_bench.errors import UserError


def sizes(fold):
    return tuple(None if frame is None else len(frame) for frame in (fold.fit, fold.tune, fold.score))


def split_texts(*frames):
    return [set(frame["text" if "text" in frame else "sentence1"]) for frame in frames]


def test_three_splits_are_used_as_they_are(tmp_path):
    for split, rows in (("train", 40), ("dev", 10), ("test", 20)):
        write_pairs(tmp_path / "p" / f"{split}.csv", [n % 2 for n in range(rows)], word=split)
    fold = tasks.fold(tasks.load("p", tmp_path))
    assert (fold.split, sizes(fold)) == ("test", (40, 10, 20))
    assert fold.notes == ()


def test_without_dev_a_fixed_tenth_of_train_is_tuned_on_and_not_fitted(tmp_path):
    write_classes(tmp_path / "c" / "train.csv", [n % 4 for n in range(200)], word="train")
    write_classes(tmp_path / "c" / "test.csv", [n % 4 for n in range(20)])
    data = tasks.load("c", tmp_path)
    fold = tasks.fold(data)
    assert sizes(fold) == (180, 20, 20)
    fit, tune = split_texts(fold.fit, fold.tune)
    assert not fit & tune
    assert fold.tune["label"].value_counts().tolist() == [5, 5, 5, 5]  # class shares are kept
    assert "fixed tenth of train (20 rows) is left out" in fold.notes[0]
    pd.testing.assert_frame_equal(fold.tune, tasks.fold(tasks.load("c", tmp_path)).tune)


@pytest.mark.parametrize("protocol", ["paper", "mteb"])
def test_other_protocols_fit_on_all_of_train(tmp_path, protocol):
    for name, write in (("c", write_classes), ("p", write_pairs)):
        write(tmp_path / name / "train.csv", [n % 2 for n in range(40)], word="train")
        write(tmp_path / name / "dev.csv", [n % 2 for n in range(20)], word="dev")
        only_dev = tasks.fold(tasks.load(name, tmp_path), protocol=protocol)
        assert (only_dev.split, sizes(only_dev)) == ("dev", (40, None, 20))
        (tmp_path / name / "dev.csv").rename(tmp_path / name / "test.csv")
        data = tasks.load(name, tmp_path)
        assert sizes(tasks.fold(data, protocol=protocol)) == (40, None, 20)
        assert tasks.fold(data, protocol=protocol).notes == ()
        cut = tasks.fold(data, "dev", protocol)  # what is scored is never fitted on
        assert cut.fit is not None and len(cut.fit) + len(cut.score) == 40
    write_pairs(tmp_path / "t" / "test.csv", [0, 1, 1])
    assert tasks.fold(tasks.load("t", tmp_path), protocol=protocol).notes == ()


def test_without_test_dev_is_scored_and_train_tuned_on(tmp_path):
    write_pairs(tmp_path / "p" / "train.csv", [n % 2 for n in range(100)], word="train")
    write_pairs(tmp_path / "p" / "dev.csv", [n % 2 for n in range(30)])
    fold = tasks.fold(tasks.load("p", tmp_path))
    assert (fold.split, sizes(fold)) == ("dev", (90, 10, 30))
    assert "no test split: dev is scored" in fold.notes[0]


def test_without_train_thresholds_come_from_dev(tmp_path):
    write_pairs(tmp_path / "p" / "dev.csv", [n % 2 for n in range(10)], word="dev")
    write_pairs(tmp_path / "p" / "test.csv", [n % 2 for n in range(30)])
    fold = tasks.fold(tasks.load("p", tmp_path))
    assert (fold.split, sizes(fold)) == ("test", (None, 10, 30))
    assert "thresholds come from dev" in fold.notes[0]


def test_a_lone_test_split_of_pairs_has_nothing_to_tune_on(tmp_path):
    write_pairs(tmp_path / "p" / "test.csv", [0, 1, 1])
    fold = tasks.fold(tasks.load("p", tmp_path))
    assert sizes(fold) == (None, None, 3)
    assert "threshold-free" in fold.notes[0]


def test_a_probe_needs_rows_to_be_fitted_on(tmp_path):
    write_classes(tmp_path / "c" / "test.csv", [0, 1, 1])
    with pytest.raises(UserError, match="no rows to fit a probe on"):
        tasks.fold(tasks.load("c", tmp_path))


def test_a_probe_is_fitted_on_dev_when_there_is_no_train(tmp_path):
    write_classes(tmp_path / "c" / "dev.csv", [n % 2 for n in range(40)], word="dev")
    write_classes(tmp_path / "c" / "test.csv", [0, 1, 1])
    fold = tasks.fold(tasks.load("c", tmp_path))
    assert sizes(fold) == (36, 4, 3)
    assert "dev stands in" in fold.notes[0]


@pytest.mark.parametrize("split", ["train", "all"])
def test_one_file_is_cut_80_10_10_with_the_class_shares_kept(tmp_path, split):
    write_classes(tmp_path / "c" / f"{split}.csv", ["x"] * 300 + ["y"] * 100)
    data = tasks.load("c", tmp_path)
    assert {name: len(frame) for name, frame in data.splits.items()} == {"train": 320, "dev": 40, "test": 40}
    assert data.splits["test"]["label"].tolist().count(1) == 10
    train, dev, test = split_texts(*data.splits.values())
    assert not train & dev
    assert not train & test
    assert not dev & test
    assert any("80/10/10" in note for note in data.notes)
    assert data.digest == tasks.load("c", tmp_path).digest


def test_equal_texts_fall_on_the_same_side_of_a_cut(tmp_path):
    write_classes(tmp_path / "c" / "all.csv", [n % 2 for n in range(200)])
    frame = pd.read_csv(tmp_path / "c" / "all.csv")
    pd.concat([frame, frame]).to_csv(tmp_path / "c" / "all.csv", index=False)
    train, dev, test = split_texts(*tasks.load("c", tmp_path).splits.values())
    assert len(train) + len(dev) + len(test) == 200


def test_every_class_of_a_cut_is_there_to_be_fitted(tmp_path):
    write_classes(tmp_path / "c" / "all.csv", [f"class {n % 30}" for n in range(90)])
    data = tasks.load("c", tmp_path)
    assert data.splits["train"]["label"].nunique() == 30


def test_one_file_too_small_to_cut_is_told(tmp_path):
    write_classes(tmp_path / "c" / "all.csv", ["x", "y"] * 3)
    with pytest.raises(UserError, match="6 rows are too few to be cut"):
        tasks.load("c", tmp_path)


def test_one_file_of_scores_is_scored_whole(tmp_path):
    write_sts(tmp_path / "s" / "all.csv", [0, 1, 2, 3])
    data = tasks.load("s", tmp_path)
    assert sizes(tasks.fold(data)) == (None, None, 4)
    assert "all its 4 rows are scored" in data.notes[-1]


def test_split_dev_scores_dev_and_tunes_on_a_tenth_of_train(tmp_path):
    for split, rows in (("train", 100), ("dev", 20), ("test", 20)):
        write_pairs(tmp_path / "p" / f"{split}.csv", [n % 2 for n in range(rows)], word=split)
        write_sts(tmp_path / "s" / f"{split}.csv", [n % 5 for n in range(rows)])
    fold = tasks.fold(tasks.load("p", tmp_path), "dev")
    assert (fold.split, sizes(fold)) == ("dev", (90, 10, 20))
    assert sizes(tasks.fold(tasks.load("s", tmp_path), "dev")) == (100, None, 20)


def test_split_dev_without_dev_scores_a_tenth_of_train(tmp_path):
    write_pairs(tmp_path / "p" / "train.csv", [n % 2 for n in range(100)], word="train")
    write_pairs(tmp_path / "p" / "test.csv", [0, 1])
    fold = tasks.fold(tasks.load("p", tmp_path), "dev")
    assert (fold.split, sizes(fold)) == ("dev", (81, 9, 10))
    texts = split_texts(fold.fit, fold.tune, fold.score)
    assert sum(map(len, texts)) == len(set().union(*texts)) == 100


def test_a_tenth_of_train_that_is_too_small_to_score_is_refused(tmp_path):
    write_sts(tmp_path / "s" / "train.csv", range(5))
    write_sts(tmp_path / "s" / "test.csv", range(5))
    with pytest.raises(UserError, match="a tenth of train is . of 5 rows; at least 2 are needed"):
        tasks.fold(tasks.load("s", tmp_path), "dev")


def test_split_dev_of_a_task_with_test_alone_is_refused(tmp_path):
    write_sts(tmp_path / "s" / "test.csv", [0, 1])
    with pytest.raises(UserError, match=r"no dev split to score: it has test\n.*--split test"):
        tasks.fold(tasks.load("s", tmp_path), "dev")
    with pytest.raises(UserError, match="unknown split 'tset'"):
        tasks.fold(tasks.load("s", tmp_path), "tset")


def test_retrieval_folds_are_judgements(tmp_path):
    rows = [("q0", "d0", 1), ("q1", "d1", 1)]
    write_beir(tmp_path / "r", {"train": rows, "test": rows})
    assert sizes(tasks.fold(tasks.load("r", tmp_path))) == (2, None, 2)


def test_a_tenth_with_one_class_falls_back_to_all_of_train(tmp_path):
    write_pairs(tmp_path / "p" / "train.csv", [0, 1, 0, 1], word="train")
    write_pairs(tmp_path / "p" / "test.csv", [0, 1])
    fold = tasks.fold(tasks.load("p", tmp_path))
    assert sizes(fold) == (4, 4, 2)
    assert "all of train" in fold.notes[0]
