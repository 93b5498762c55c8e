"""p-values of per-seed differences, and Holm's correction within a family of questions."""

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from mipic_bench.stats.intervals import Array, moments

ALPHA = 0.05
EXACT_UP_TO = 16  # seeds: 2^15 sign patterns
_DRAWS = 2**15 - 1
_BLOCK = 64  # groups at once: bounds the memory at about 20 MB
T_TEST, SIGN_FLIP = "t test", "sign-flip permutation"


def paired_p(values: ArrayLike, *, questions: int = 1, seed: int = 0) -> tuple[Array, NDArray[np.str_]]:
    """Two-sided p-values that the mean per-seed difference is 0, and the name of the test that gave each.

    The sign-flip permutation over whole seeds stands where it can reach 0.05: its smallest p is 2 / 2^n, so from 6 seeds
    on for one question, and later when the p is to be corrected for several (11 seeds for 45). Else it is the t test.

    Args:
        values: (..., seed) differences, NaN where a seed is missing.
        questions: number of questions that Holm's correction will cover.
        seed: of the random sign patterns, which are drawn above 16 seeds only.

    Returns:
        p of shape (...), NaN below two seeds; names of the same shape ("" where there is no p).
    """
    x = np.asarray(values, dtype=np.float64)
    count = (~np.isnan(x)).sum(axis=-1)
    reaches = questions * 2.0 ** (1 - count) <= ALPHA
    p = t_test_p(x)
    if reaches.any():
        p[reaches] = sign_flip_p(x[reaches], seed=seed)
    return p, np.select([count < 2, reaches], ["", SIGN_FLIP], T_TEST)


def t_test_p(values: ArrayLike) -> Array:
    """Two-sided p of the one-sample t test that the mean over the last axis (seeds) is 0; NaN below two seeds."""
    x = np.asarray(values, dtype=np.float64)
    mean, sd, count = moments(x.reshape(-1, x.shape[-1]))
    endless = np.where(mean == 0, 0.0, np.inf)  # no spread at all: certain, or exactly no difference
    ratio = np.divide(np.abs(mean), sd / np.sqrt(np.maximum(count, 1)), out=endless, where=sd > 0)
    p = np.where(count > 1, 2 * stats.t.sf(ratio, np.maximum(count - 1, 1)), np.nan)
    return np.asarray(p.reshape(x.shape[:-1]), dtype=np.float64)


def sign_flip_p(values: ArrayLike, *, seed: int = 0) -> Array:
    """Two-sided p of the sign-flip permutation test over whole seeds: exact up to 16 seeds, drawn patterns above.

    Args:
        values: (..., seed) differences, NaN where a seed is missing.
        seed: of the drawn patterns.

    Returns:
        of shape (...); never below 2 / 2^n (exact) or 1 / 32768 (drawn); NaN without any seed.
    """
    x = np.asarray(values, dtype=np.float64)
    flat = x.reshape(-1, x.shape[-1])
    count = (~np.isnan(flat)).sum(axis=1)
    p = np.full(len(flat), np.nan)
    for n in np.unique(count[count > 0]):
        rows = np.flatnonzero(count == n)
        for block in np.array_split(rows, -(-len(rows) // _BLOCK)):
            p[block] = _flip(flat[block][~np.isnan(flat[block])].reshape(len(block), n), seed)
    return np.asarray(p.reshape(x.shape[:-1]), dtype=np.float64)


def holm(p: ArrayLike) -> Array:
    """Holm's (1979) adjusted p-values within one family of questions.

    Args:
        p: (question,) raw p-values; NaN for a question that no data answer, which then does not count.

    Returns:
        (question,) adjusted p-values, at most 1; NaN stays NaN.
    """
    raw = np.asarray(p, dtype=np.float64)
    adjusted = np.full(raw.shape, np.nan)
    answered = np.flatnonzero(~np.isnan(raw))
    order = answered[np.argsort(raw[answered], kind="stable")]
    factors = len(order) - np.arange(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(raw[order] * factors), 1.0)
    return adjusted


def _flip(units: Array, seed: int) -> Array:
    """Sign-flip p-values of (group, seed) without gaps."""
    n = units.shape[1]
    signs = _signs(n, seed)
    drawn = int(n > EXACT_UP_TO)
    rounding = 1e-12 * np.abs(units).sum(axis=1)  # sums that are equal but for rounding count as equal
    observed = np.abs(units.sum(axis=1)) - rounding
    extreme = (np.abs(signs @ units.T) >= observed).sum(axis=0)
    return np.asarray((extreme + drawn) / (len(signs) + drawn), dtype=np.float64)


@lru_cache(maxsize=8)
def _signs(n: int, seed: int) -> Array:
    """Sign patterns (pattern, seed): all up to a global flip (which changes no |sum|), or drawn ones for many seeds."""
    if n > EXACT_UP_TO:
        return np.random.default_rng([seed, n]).choice(np.array([-1.0, 1.0]), size=(_DRAWS, n))
    bits = (np.arange(2 ** (n - 1))[:, None] >> np.arange(n)) & 1
    return np.asarray(1.0 - 2.0 * bits, dtype=np.float64)
