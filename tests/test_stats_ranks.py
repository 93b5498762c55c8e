"""Friedman and Nemenyi against autorank's values; the groups of a critical-difference diagram."""

import numpy as np
import pytest

from mipic_bench import stats

# Demsar 2006, table 6: AUC of four variants of C4.5 on fourteen data sets.
DEMSAR = """
.763 .768 .771 .798   .599 .591 .590 .569   .954 .971 .968 .967   .628 .661 .654 .657   .882 .888 .886 .898
.936 .931 .916 .931   .661 .668 .609 .685   .583 .583 .563 .625   .775 .838 .866 .875   1 1 1 1
.940 .962 .965 .962   .619 .666 .614 .669   .972 .981 .975 .975   .957 .978 .946 .970
"""
SCORES = np.array(DEMSAR.split(), dtype=float).reshape(14, 4)
TASKS = [f"set {number}" for number in range(14)]


# autorank 1.3.0: autorank(frame, alpha=0.05, order="descending", force_mode="nonparametric"): pvalue, cd, rankdf.meanrank
def test_friedman_and_nemenyi_agree_with_autorank():
    found = stats.rank(SCORES, ["a", "b", "c", "d"], TASKS)
    assert found.methods == ("d", "b", "c", "a")
    assert found.mean_ranks == pytest.approx([1.9285714285714286, 2.0, 2.9285714285714284, 3.142857142857143])
    assert found.p == pytest.approx(0.011986176325417788)
    assert found.critical_difference == pytest.approx(1.2535512603486423, rel=1e-4)
    assert found.groups == (("d", "b", "c", "a"),)


def test_groups_are_the_largest_runs_within_the_critical_difference():
    scores = np.array([[9, 8, 7, 3, 2, 1]] * 20, dtype=float)
    found = stats.rank(scores, list("abcdef"), [str(task) for task in range(20)])
    assert found.critical_difference == pytest.approx(1.6858868, rel=1e-4)  # autorank 1.3.0: its own example of 6 x 20
    assert found.groups == (("a", "b"), ("b", "c"), ("c", "d"), ("d", "e"), ("e", "f"))


def test_a_task_that_a_method_lacks_is_excluded_and_said():
    scores = SCORES.copy()
    scores[3, 1] = np.nan
    found = stats.rank(scores, ["a", "b", "c", "d"], TASKS)
    assert (found.excluded, len(found.tasks)) == (("set 3",), 13)
    assert "set 3" in found.note
    assert found.mean_ranks == stats.rank(np.delete(SCORES, 3, 0), ["a", "b", "c", "d"], TASKS[:13]).mean_ranks


def test_too_little_to_rank():
    two = stats.rank(SCORES[:, :2], ["a", "b"], TASKS)
    assert np.isnan(two.p)
    assert not np.isnan(two.critical_difference)
    one = stats.rank(SCORES[:1], ["a", "b", "c", "d"], TASKS[:1])
    assert np.isnan([one.p, one.critical_difference]).all()
    assert one.groups == ()
    ties = stats.rank(np.ones((4, 3)), ["a", "b", "c"], TASKS[:4])
    assert np.isnan(ties.p)
    assert ties.groups == (("a", "b", "c"),)
