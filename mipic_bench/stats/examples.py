"""One trained model against one other: what the scored examples alone can say. It knows nothing of other seeds."""

from math import nan

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from mipic_bench.stats.estimates import Estimate
from mipic_bench.stats.intervals import CONFIDENCE

_ONLY = "these two models only: another seed may turn it"
_BLOCK = 2**22  # drawn examples at once: bounds the memory at about 70 MB


def bootstrap_examples(left: ArrayLike, right: ArrayLike, *, resamples: int = 5000, seed: int = 0) -> Estimate:
    """Difference of two models (left minus right) by a paired bootstrap over examples.

    Args:
        left: (example,) scores whose mean is the metric (hits, per-query nDCG).
        right: (example,) scores of the same examples in the same order.
        resamples: samples drawn.
        seed: of the draws.

    Returns:
        the difference with the 2.5 % and 97.5 % percentiles; one seed, one task, and `kind` says what it is.

    Raises:
        ValueError: the two do not have the same examples, or none.
    """
    one, two = np.asarray(left, dtype=np.float64), np.asarray(right, dtype=np.float64)
    if one.shape != two.shape or one.ndim != 1 or one.size == 0:
        raise ValueError(f"left has the shape {one.shape} and right {two.shape}; both must be (example,) and paired")
    paired = one - two
    rng = np.random.default_rng(seed)
    at_once = max(1, _BLOCK // paired.size)
    means = np.concatenate(
        [
            paired[rng.integers(paired.size, size=(min(at_once, resamples - start), paired.size))].mean(axis=1)
            for start in range(0, resamples, at_once)
        ]
    )
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    kind = f"paired bootstrap over {paired.size} examples"
    return Estimate(float(paired.mean()), float(low), float(high), 1, 1, kind, note=_ONLY)


def difference_from_stderr(left: float, left_stderr: float, right: float, right_stderr: float) -> Estimate:
    """Difference of two models on one task when only values and standard errors over examples are known.

    The pairing is lost, so the interval is wider than a paired one whenever the two find the same examples hard.

    Args:
        left: a row's value.
        left_stderr: its standard error over examples.
        right: the other row's value, of the same task and metric.
        right_stderr: its standard error over examples.
    """
    error = float(np.hypot(left_stderr, right_stderr))
    half = float(stats.norm.ppf(0.5 + CONFIDENCE / 2)) * error if not np.isnan(error) else nan
    mean = left - right
    return Estimate(mean, mean - half, mean + half, 1, 1, "normal over examples, unpaired", note=_ONLY)
