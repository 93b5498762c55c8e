"""Intervals, interquartile mean, p-values, Holm and power against scipy and values that other packages gave."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import integrate
from scipy import stats as reference

from mipic_bench import stats

NAN = float("nan")
SEEDS = np.random.default_rng(3).normal(0.7, 0.01, (5, 6))
finite = st.floats(-1, 1, allow_nan=False).map(lambda x: round(x, 6))


def test_t_interval_agrees_with_scipy():
    found = stats.estimate(SEEDS)
    low, high = reference.t.interval(0.95, 4, SEEDS.mean(axis=1).mean(), reference.sem(SEEDS.mean(axis=1)))
    assert (found.mean, found.low, found.high) == pytest.approx((SEEDS.mean(), low, high))
    assert (found.n_seeds, found.n_tasks, found.kind) == (5, 6, "t over seeds")
    assert found.low_wide < found.low < found.high < found.high_wide


def test_wide_interval_adds_the_task_interval_in_squares():
    found = stats.estimate(SEEDS)
    tasks = SEEDS.mean(axis=0)
    half = reference.t.ppf(0.975, 5) * reference.sem(tasks)
    assert found.mean - found.low_wide == pytest.approx(np.hypot(found.mean - found.low, half))


def test_one_seed_has_no_interval_and_says_so():
    found = stats.estimate(SEEDS[:1])
    assert np.isnan([found.low, found.high, found.low_wide, found.high_wide]).all()
    assert found.mean == pytest.approx(SEEDS[0].mean())
    assert "one run: interval unknown" in found.note
    assert stats.verdict(found) == "cannot be told"


def test_one_task_says_nothing_beyond_it():
    found = stats.estimate(SEEDS[:, :1])
    assert np.isnan(found.low_wide)
    assert not np.isnan(found.low)
    assert "one task" in found.note


def test_a_seed_that_lacks_a_task_is_left_out_and_counted():
    scores = SEEDS.copy()
    scores[4, :2] = NAN
    found = stats.estimate(scores)
    assert found.mean == pytest.approx(SEEDS[:4].mean())
    assert (found.n_seeds, found.note) == (4, "2 cells excluded")


def test_no_seed_at_all():
    found = stats.estimate(np.full((3, 2), NAN))
    assert np.isnan(found.mean)
    assert found.n_seeds == 0


def test_equal_values_have_no_spread():
    found = stats.interval(np.full((1, 5), 0.1))
    assert found.sd[0] == 0
    assert found.low[0] == found.high[0] == found.mean[0]
    many = stats.interval(np.full((1, 12), 0.1))
    assert many.low[0] == many.high[0] == many.mean[0]


def test_from_ten_seeds_on_whole_seeds_are_resampled():
    values = np.random.default_rng(0).normal(0, 1, (3, 12))
    found = stats.interval(values)
    again = stats.interval(values)
    t = [reference.t.interval(0.95, 11, row.mean(), reference.sem(row)) for row in values]
    assert (found.low == again.low).all()
    assert not np.allclose(found.low, [low for low, _ in t], atol=1e-6)  # it is not the t interval
    assert np.allclose(found.low, [low for low, _ in t], atol=0.35)  # but near it
    assert stats.estimate(values.T[:, :1]).kind == "bootstrap of seeds"
    assert not np.allclose(stats.interval(values, seed=1).low, found.low, atol=1e-9)


def test_bootstrap_of_nearly_constant_seeds_falls_back_to_t():
    values = np.array([[0.0] * 9 + [1.0]])
    found = stats.interval(values)
    low, high = reference.t.interval(0.95, 9, values.mean(), reference.sem(values[0]))
    assert (found.low[0], found.high[0]) == pytest.approx((low, high))


# rliable 1.2.0: metrics.aggregate_iqm(np.arange(1, 31).reshape(5, 6) ** 1.5 / 100), and of the 3 x 4 array below.
def test_interquartile_mean_agrees_with_rliable_and_scipy():
    runs = np.arange(1, 31, dtype=float).reshape(5, 6) ** 1.5 / 100
    assert stats.interquartile_mean(runs.ravel()) == pytest.approx(0.630688683900929)
    few = np.array([[0.1, 0.5, 0.9, 0.3], [0.2, 0.4, 0.8, 0.3], [0.15, 0.6, 0.7, 0.35]])
    assert stats.interquartile_mean(few.ravel()) == pytest.approx(0.4083333333333334)
    for size in range(1, 20):
        x = np.random.default_rng(size).random(size)
        assert stats.interquartile_mean(x) == pytest.approx(reference.trim_mean(x, 0.25))


def test_interquartile_estimate_has_an_interval():
    found = stats.estimate(SEEDS, statistic="iqm")
    assert found.mean == pytest.approx(reference.trim_mean(SEEDS.ravel(), 0.25))
    assert found.low < found.mean < found.high
    assert stats.estimate(SEEDS[:1], statistic="iqm").mean == pytest.approx(reference.trim_mean(SEEDS[0], 0.25))


# statsmodels 0.15.0: multipletests(p, method="holm")[1]
def test_holm_agrees_with_statsmodels():
    p = [0.01, 0.04, 0.03, 0.005, 0.2, 0.2, 0.6]
    assert stats.holm(p) == pytest.approx([0.06, 0.16, 0.15, 0.035, 0.6, 0.6, 0.6])


def test_holm_does_not_count_questions_without_an_answer():
    assert stats.holm([0.01, NAN, 0.04]) == pytest.approx([0.02, NAN, 0.04], nan_ok=True)
    assert stats.holm([]).shape == (0,)


@pytest.mark.parametrize("n", [2, 5, 9])
def test_t_test_agrees_with_scipy(n):
    x = np.random.default_rng(n).normal(0.5, 1, (4, n))
    assert stats.t_test_p(x) == pytest.approx(reference.ttest_1samp(x, 0, axis=1).pvalue)


@pytest.mark.parametrize("n", [2, 6, 10, 13])
def test_sign_flip_agrees_with_scipy(n):
    x = np.random.default_rng(n).normal(0.4, 1, n).round(2)
    found = reference.permutation_test((x,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert stats.sign_flip_p(x) == pytest.approx(found.pvalue)


def test_sign_flip_of_many_seeds_is_drawn_and_deterministic():
    x = np.random.default_rng(0).normal(0.5, 1, 24)
    p = stats.sign_flip_p(x)
    assert p == stats.sign_flip_p(x)
    assert p == pytest.approx(reference.ttest_1samp(x, 0).pvalue, abs=0.01)


def test_permutation_p_stands_only_where_it_can_reach_five_percent():
    x = np.array([[1, 2, 3, 4, 5, NAN], [1, 2, 3, 4, 5, 6], [1, NAN, NAN, NAN, NAN, NAN]])
    p, kind = stats.paired_p(x)
    assert list(kind) == ["t test", "sign-flip permutation", ""]
    assert p[1] == pytest.approx(2 / 2**6)
    assert np.isnan(p[2])
    assert stats.paired_p(np.arange(10.0), questions=45)[1] == "t test"
    assert stats.paired_p(np.arange(11.0), questions=45)[1] == "sign-flip permutation"


# statsmodels 0.15.0: TTestPower().power(effect_size, nobs, 0.05) and .solve_power(...)
def test_power_agrees_with_statsmodels():
    assert stats.power(1.5, 1, 5) == pytest.approx(0.7107026739256754)
    assert stats.power(0.8, 0.592, 5) == pytest.approx(0.6251627353485643)
    wanted = [3.264043552819638, 1.6819970833232674, 0.9960019107624178]
    assert stats.detectable(1, np.array([3, 5, 10])) == pytest.approx(wanted)
    assert stats.seeds_needed(0.5, 1) == 34  # 33.367


@pytest.mark.parametrize("n", [2, 3, 5, 12])
@pytest.mark.parametrize("shift", [0.0, 0.5, 8.0, 12.0, 16.0])
def test_power_agrees_with_an_integral_over_the_standard_deviation(n, shift):
    critical = reference.t.ppf(0.975, n - 1)

    def missed(variance):
        edge = critical * np.sqrt(variance / (n - 1))
        inside = reference.norm.cdf(edge - shift) - reference.norm.cdf(-edge - shift)
        return inside * reference.chi2.pdf(variance, n - 1)

    chance = 1 - sum(integrate.quad(missed, *part)[0] for part in ((0, 0.1), (0.1, 5), (5, 50), (50, np.inf)))
    assert stats.power(shift / np.sqrt(n), 1, n) == pytest.approx(chance, abs=1e-5)
    assert stats.power(float(stats.detectable(1, n)), 1, n) == pytest.approx(0.8)


def test_seeds_needed_is_the_inverse_of_detectable():
    needed = stats.seeds_needed(0.5, 0.42)
    assert stats.detectable(0.42, needed) <= 0.5 < stats.detectable(0.42, needed - 1)
    assert stats.seeds_needed(0.5, 0.0) == 2
    assert np.isnan(stats.detectable(0.4, 1))
    with pytest.raises(ValueError, match="difference of 0"):
        stats.seeds_needed(0, 0.4)


@given(arrays(float, (4, 3), elements=finite), st.permutations(range(4)), st.permutations(range(3)))
def test_the_order_of_seeds_and_tasks_does_not_matter(scores, seeds, tasks):
    one, two = stats.estimate(scores), stats.estimate(scores[seeds][:, tasks])
    assert [one.low, one.high, one.high_wide] == pytest.approx([two.low, two.high, two.high_wide], abs=1e-9)
