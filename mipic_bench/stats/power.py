"""How small a difference so many seeds can show, and how many seeds a difference needs: the paired t test's power."""

from functools import lru_cache
from math import ceil, sqrt

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, stats

from mipic_bench.stats.intervals import CONFIDENCE, Array

POWER = 0.8


def power(difference: float, sd: float, n: int) -> float:
    """Return the chance that the two-sided 5 % t test over n seeds calls a true difference real.

    Args:
        difference: the true mean of the per-seed differences.
        sd: standard deviation of the per-seed differences (each a mean over tasks), in the same unit, above 0.
        n: seeds on both sides, at least 2.
    """
    return _power(abs(difference) / sd * sqrt(n), n)


def detectable(sd: ArrayLike, n: ArrayLike, *, power: float = POWER) -> Array:
    """Return the smallest true difference that n seeds call real with the given power, at 5 %, without Holm's correction.

    Args:
        sd: standard deviations of the per-seed differences; any shape.
        n: seeds, of the same shape or one number.
        power: the chance of finding it.

    Returns:
        of the broadcast shape, in the unit of `sd`; NaN below two seeds.
    """
    seeds = np.asarray(n, dtype=np.int64)
    known, place = np.unique(seeds, return_inverse=True)
    factors = np.array([_shift(int(count), power) / sqrt(count) if count > 1 else np.nan for count in known])
    return np.asarray(np.asarray(sd, dtype=np.float64) * factors[place].reshape(seeds.shape))


def seeds_needed(difference: float, sd: float, *, power: float = POWER) -> int:
    """Return how many seeds show a true difference with the given power, at 5 %, without Holm's correction.

    Args:
        difference: the true mean of the per-seed differences, not 0.
        sd: standard deviation of the per-seed differences, in the same unit.
        power: the chance of finding it.

    Raises:
        ValueError: the difference is 0: no number of seeds shows it.
    """
    if difference == 0:
        raise ValueError("a difference of 0 cannot be shown by any number of seeds")
    ratio = abs(difference) / sd if sd > 0 else np.inf
    normal = stats.norm.ppf(0.5 + CONFIDENCE / 2) + stats.norm.ppf(power)
    n = max(2, ceil(float(normal / ratio) ** 2))  # what a known s.d. would need: never more than t needs
    while ratio < np.inf and _power(ratio * sqrt(n), n) < power:
        n += 1
    return n


def _power(shift: float, n: int) -> float:
    """Power when the true t statistic is shifted by `shift` standard errors.

    The square of a noncentral t is a noncentral F. scipy's noncentral t is NaN far out in the tail, where two seeds are;
    its noncentral F is not, but wants a shift.
    """
    if shift == 0:
        return 1 - CONFIDENCE
    critical = stats.t.ppf(0.5 + CONFIDENCE / 2, n - 1)
    return float(stats.ncf.sf(critical**2, 1, n - 1, shift**2))


@lru_cache(maxsize=256)
def _shift(n: int, power: float) -> float:
    """The shift in standard errors that reaches the power at n seeds."""
    highest = 2.0
    while _power(highest, n) < power:
        highest *= 2
    return float(optimize.brentq(lambda shift: _power(shift, n) - power, 0.0, highest))
