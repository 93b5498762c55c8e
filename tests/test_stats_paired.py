"""Paired differences: what is paired, what is left out and said, and what changes nothing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats as reference

from mipic_bench import stats

NAN = float("nan")
RNG = np.random.default_rng(5)
LEFT, RIGHT = RNG.normal(0.71, 0.01, (5, 4)), RNG.normal(0.70, 0.01, (5, 4))
finite = st.floats(-1, 1, allow_nan=False).map(lambda x: round(x, 6))
scores = arrays(float, (5, 3), elements=finite)


def test_difference_agrees_with_scipys_paired_t_test():
    found = stats.difference(LEFT, RIGHT)
    theirs = reference.ttest_rel(LEFT.mean(axis=1), RIGHT.mean(axis=1))
    ends = theirs.confidence_interval(0.95)
    assert (found.mean, found.low, found.high, found.p) == pytest.approx(
        ((LEFT - RIGHT).mean(), ends.low, ends.high, theirs.pvalue)
    )
    assert (found.p_kind, found.kind, found.n_seeds, found.n_tasks) == ("t test", "t over seeds", 5, 4)
    assert found.detectable == pytest.approx(stats.detectable(found.sd, 5))


def test_seed_and_task_cells_are_not_taken_for_independent():
    shared = np.array([0.02, -0.02, 0.03, -0.01, 0.01])[:, None]
    found = stats.difference(0.7 + shared + np.zeros((5, 50)), np.full((5, 50), 0.7))
    assert found.high - found.low > 0.04  # 50 tasks that share one seed's luck are one observation
    assert stats.verdict(found) == "not distinguishable"


def test_a_seed_that_lacks_a_cell_on_either_side_is_excluded_and_its_cells_counted():
    left, right = LEFT.copy(), RIGHT.copy()
    left[0, 0] = right[1, 2] = NAN
    right[4] = NAN
    found = stats.difference(left, right)
    assert found.mean == pytest.approx((left - right)[2:4].mean())
    assert (found.n_seeds, found.excluded) == (2, 3 * 4)
    assert "12 cells excluded" in found.note


def test_every_paired_seed_is_over_the_same_tasks():
    """A gain on one task is no gain on the mean because the seeds lack the task where it is lost."""
    right = np.tile([0.5, 0.6], (7, 1))
    left = right + [0.1, -0.1]
    left[1:, 1] = NAN
    found = stats.difference(left, right)
    assert (found.mean, found.n_seeds) == (pytest.approx(0, abs=1e-12), 1)
    assert stats.verdict(found) == "cannot be told"
    assert found.mean == pytest.approx(stats.estimate(left).mean - stats.estimate(right).mean, abs=1e-12)


def test_a_hole_in_both_sides_is_counted_too():
    left, right = LEFT.copy(), RIGHT.copy()
    left[2, 1] = right[2, 1] = NAN
    assert stats.difference(left, right).excluded == 4  # the hole, and the rest of its seed
    left[:, 3] = right[:, 3] = NAN  # a task that neither has at all is no hole
    left[4] = right[4] = NAN  # nor is a seed that neither ran
    assert stats.difference(left, right).excluded == 3


def test_no_common_cell():
    left, right = LEFT.copy(), RIGHT.copy()
    left[:, :2] = right[:, 2:] = NAN
    found = stats.difference(left, right)
    assert np.isnan(found.mean)
    assert np.isnan(found.p)
    assert (found.n_seeds, stats.verdict(found)) == (0, "cannot be told")


def test_a_method_without_training_stands_against_every_seed():
    found = stats.difference(LEFT, RIGHT[0])
    assert (found.mean, found.n_seeds, found.excluded) == (pytest.approx((LEFT - RIGHT[0]).mean()), 5, 0)
    assert "one run stands against every seed" in found.note
    lacking = RIGHT[0].copy()
    lacking[1] = NAN
    assert stats.difference(LEFT, lacking).excluded == 5


def test_two_methods_without_training_have_no_seeds():
    found = stats.difference(LEFT[0], RIGHT[0])
    assert (found.n_seeds, stats.verdict(found)) == (1, "cannot be told")
    assert "neither side has training" in found.note


def test_trained_sides_must_be_paired():
    with pytest.raises(ValueError, match="paired by seed and task"):
        stats.difference(LEFT, RIGHT[:1])


@pytest.mark.parametrize(("shift", "expected"), [(0.2, "better"), (-0.2, "worse"), (0.0, "not distinguishable")])
def test_verdicts(shift, expected):
    noise = np.array([[1.0, -1], [-1, 1], [2, -2], [-2, 1], [0, 1]]) / 100
    assert stats.verdict(stats.difference(noise + shift, np.zeros((5, 2)))) == expected


# rliable 1.2.0: metrics.probability_of_improvement(x, y)
def test_probability_of_improvement_agrees_with_rliable():
    x = np.array([[0.1, 0.5, 0.9, 0.3], [0.2, 0.4, 0.8, 0.3], [0.15, 0.6, 0.7, 0.35]])
    y = np.array([[0.12, 0.45, 0.9, 0.3], [0.18, 0.4, 0.75, 0.2]])
    assert stats.probability_of_improvement(x, y) == pytest.approx(0.625)
    assert stats.probability_of_improvement(y, x) == pytest.approx(0.375)
    assert np.isnan(stats.probability_of_improvement(np.full((2, 2), NAN), x[:, :2]))


@given(scores, scores, st.floats(-1, 1))
def test_a_constant_on_both_sides_changes_nothing(left, right, constant):
    one, two = stats.difference(left, right), stats.difference(left + constant, right + constant)
    assert [one.mean, one.low, one.high, one.low_wide] == pytest.approx(
        [two.mean, two.low, two.high, two.low_wide], abs=1e-9
    )


@given(scores, scores)
def test_swapping_the_sides_flips_the_sign(left, right):
    one, two = stats.difference(left, right), stats.difference(right, left)
    assert [one.mean, one.low, one.high_wide] == pytest.approx([-two.mean, -two.high, -two.low_wide], abs=1e-12)
    assert (one.p, one.improvement) == pytest.approx((two.p, 1 - two.improvement))


def test_swapping_the_sides_flips_the_bootstrap_too():
    left, right = RNG.normal(0, 1, (12, 3)), RNG.normal(0, 1, (12, 3))
    one, two = stats.difference(left, right), stats.difference(right, left)
    assert (one.low, one.p) == pytest.approx((-two.high, two.p))
    assert one.p_kind == "sign-flip permutation"


def test_bootstrap_over_examples_is_named_and_agrees_with_scipy():
    hits = RNG.random((2, 400)).round()
    found = stats.bootstrap_examples(hits[0], hits[1])
    theirs = reference.bootstrap(
        (hits[0] - hits[1],), np.mean, method="percentile", n_resamples=5000, rng=np.random.default_rng(1)
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=0.01)
    assert found.kind == "paired bootstrap over 400 examples"
    assert found == stats.bootstrap_examples(hits[0], hits[1])
    with pytest.raises(ValueError, match="paired"):
        stats.bootstrap_examples(hits[0], hits[1][:5])


def test_difference_from_stderr_is_wider_than_the_paired_one():
    base = RNG.random(500)
    left, right = base + RNG.normal(0, 0.05, 500), base
    paired = stats.bootstrap_examples(left, right)
    errors = [x.std(ddof=1) / np.sqrt(500) for x in (left, right)]
    found = stats.difference_from_stderr(left.mean(), errors[0], right.mean(), errors[1])
    assert found.mean == pytest.approx(paired.mean)
    assert found.high - found.low > paired.high - paired.low
    assert found.kind == "normal over examples, unpaired"
    assert stats.verdict(stats.difference_from_stderr(0.5, NAN, 0.4, 0.01)) == "cannot be told"
