"""Metrics with their standard errors over examples, each from one sort.

Every metric here is a smooth function T of the examples' weights. Its influence on example i is dT/dw_i; the standard
error is sqrt(mean(influence^2) / n), the infinitesimal jackknife (Efron 1982, The Jackknife, the Bootstrap and Other
Resampling Plans, ch. 6): the limit of the plain bootstrap's standard error, without random numbers. Ties count as in
the metric itself.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mipic_bench.evaluators._cosine import Floats

Labels = NDArray[np.int64]


class Estimate(NamedTuple):
    """A value and its standard error over examples; both nan where the metric is undefined."""

    value: float
    stderr: float


UNDEFINED = Estimate(float("nan"), float("nan"))


class Ranked(NamedTuple):
    """A sample in the order of its values.

    Attributes:
        order: (n,) positions that sort the sample ascending.
        first: (n,) for each example, how many are smaller than it.
        last: (n,) for each example, how many are smaller than or equal to it.
        centered: (n,) share of smaller examples, ties counted half, minus its mean 1/2.
    """

    order: NDArray[np.int64]
    first: NDArray[np.int64]
    last: NDArray[np.int64]
    centered: Floats


def ranked(values: Floats) -> Ranked:
    """Sort a sample (n,) once."""
    order = np.argsort(values, kind="stable")
    in_order = values[order]
    first, last = np.empty_like(order), np.empty_like(order)
    new = np.flatnonzero(np.r_[True, in_order[1:] != in_order[:-1]])
    ends = np.r_[new[1:], len(values)]
    first[order] = np.repeat(new, ends - new)
    last[order] = np.repeat(ends, ends - new)
    return Ranked(order, first, last, (first + last) / (2 * len(values)) - 0.5)


def _standard_error(influence: Floats) -> float:
    return float(np.sqrt(np.mean((influence - influence.mean()) ** 2) / len(influence)))


def mean(contributions: Floats) -> Estimate:
    """Return the mean of per-example contributions (n,), such as 0/1 correctness or a query's score."""
    return Estimate(float(contributions.mean()), _standard_error(contributions)) if len(contributions) else UNDEFINED


def pearson(x: Floats, y: Floats) -> Estimate:
    """Return Pearson's correlation of two samples (n,); undefined when one is constant or not finite."""
    if not _vary(x, y):
        return UNDEFINED
    a, b = x - x.mean(), y - y.mean()
    a, b = a / np.sqrt(np.mean(a * a)), b / np.sqrt(np.mean(b * b))
    value = float(np.clip(np.mean(a * b), -1.0, 1.0))
    return Estimate(value, _standard_error(a * b - value * (a * a + b * b) / 2))


def spearman(x: Floats, y: Floats, y_ranked: Ranked) -> Estimate:
    """Return Spearman's correlation of two samples (n,); undefined when one is constant or not finite.

    The influence of an example has two parts: its own product of ranks, and how its presence moves the ranks of all
    others. The second is a cumulative sum in sort order.
    """
    if not _vary(x, y):
        return UNDEFINED
    x_ranked = ranked(x)
    f, g = x_ranked.centered, y_ranked.centered
    cross, f_square, g_square = np.mean(f * g), np.mean(f * f), np.mean(g * g)
    value = float(cross / np.sqrt(f_square * g_square))
    of_cross = f * g + _moved(x_ranked, g) + _moved(y_ranked, f)
    of_f, of_g = f * f + 2 * _moved(x_ranked, f), g * g + 2 * _moved(y_ranked, g)
    relative = of_cross / np.sqrt(f_square * g_square) - value / 2 * (of_f / f_square + of_g / g_square)
    return Estimate(value, _standard_error(relative))


def _moved(sample: Ranked, weights: Floats) -> Floats:
    """For each example, the mean over all j of weights[j] x (1 if j is larger, 1/2 if equal)."""
    total = np.r_[0.0, np.cumsum(weights[sample.order])]
    moved: Floats = (2 * total[-1] - total[sample.first] - total[sample.last]) / (2 * len(weights))
    return moved


def _vary(x: Floats, y: Floats) -> bool:
    return bool(len(x) > 1 and np.isfinite(x).all() and x.min() < x.max() and y.min() < y.max())


def average_precision(scores: Floats, labels: Labels) -> Estimate:
    """Return average precision, the mean over positives of the precision among all that score at least as high.

    Args:
        scores: (n,) higher is more positive; equal scores are one threshold, as in scikit-learn.
        labels: (n,) 0 or 1.
    """
    positives = int(labels.sum())
    if not np.isfinite(scores).all() or not 0 < positives < len(labels):
        return UNDEFINED
    falling = ranked(-scores)
    positive = labels.astype(np.float64)
    hits = np.r_[0.0, np.cumsum(positive[falling.order])][falling.last]  # positives that score at least as high
    above = falling.last.astype(np.float64)
    precision = hits / above
    value = float((positive * precision).sum() / positives)
    # Presence of k changes the precision at every positive that scores no higher: + 1/above for a positive, - hits/above^2 for all.
    gain = _from(falling, positive / above)
    loss = _from(falling, positive * hits / above**2)
    influence = positive * (precision - value + gain) - loss
    return Estimate(value, _standard_error(influence * len(labels) / positives))


def _from(sample: Ranked, weights: Floats) -> Floats:
    """For each example, the sum of weights over all that are at its place or after it in sort order."""
    total = np.r_[0.0, np.cumsum(weights[sample.order])]
    return np.asarray(total[-1] - total[sample.first])


def f1(truth: Labels, guess: Labels, label: int) -> tuple[float, Floats]:
    """Return the F1 of one class and its influence per example (n,)."""
    is_true, is_guess = truth == label, guess == label
    hit = (is_true & is_guess).astype(np.float64)
    named = is_true.astype(np.float64) + is_guess
    value = float(2 * hit.sum() / named.sum())
    return value, (2 * hit - value * named) * (len(truth) / named.sum())


def macro_f1(truth: Labels, guesses: Sequence[Labels]) -> Estimate:
    """Return the mean F1 over the classes that occur in the truth or among the guesses, as scikit-learn does.

    Args:
        truth: (n,) class numbers.
        guesses: one (n,) array per fit; the value is the mean over fits, the error that of this mean.
    """
    values, influences = [], []
    for guess in guesses:
        labels = np.union1d(truth, guess)
        own, total = [], np.zeros(len(truth))
        # summed as they come: a thousand classes of a long split do not fit in memory side by side
        for label in labels:
            value, influence = f1(truth, guess, int(label))
            own.append(value)
            total += influence
        values.append(np.mean(own))
        influences.append(total / len(labels))
    return Estimate(float(np.mean(values)), _standard_error(np.mean(influences, axis=0)))


def positive_f1(truth: Labels, guess: Labels) -> Estimate:
    """Return the F1 of class 1; 0 when it is never guessed, undefined when it also never occurs."""
    if not (truth == 1).any() and not (guess == 1).any():
        return UNDEFINED
    value, influence = f1(truth, guess, 1)
    return Estimate(value, _standard_error(influence))


def v_measure(truth: Labels, experiments: Sequence[tuple[NDArray[np.int64], Labels]]) -> Estimate:
    """Return the mean V-measure of several clusterings; the error over texts, given the clusters.

    V = 2 I / (H_class + H_cluster), with I the mutual information and H entropies. Where most pairs of class and
    cluster hold a text or two (77 classes in 3,000 texts, poor vectors), the error is about a tenth below the plain
    bootstrap's, which is itself biased there.

    Args:
        truth: (n,) class of each text.
        experiments: per clustering, (m,) rows of the clustered texts, repeats allowed, and (m,) the cluster of each.
    """
    values, influence = [], np.zeros(len(truth))
    for rows, clusters in experiments:
        value, parts = _v_measure(truth[rows], clusters)
        values.append(value)
        influence += np.bincount(rows, weights=parts, minlength=len(truth)) * len(truth) / len(rows)
    return Estimate(float(np.mean(values)), _standard_error(influence / len(values)))


def _v_measure(truth: Labels, clusters: Labels) -> tuple[float, Floats]:
    """Return the V-measure of a clustering and the influence of each example, (m,) with mean zero."""
    _, truth = np.unique(truth, return_inverse=True)
    cells = truth * (clusters.max() + 1) + clusters
    log_joint, log_class, log_cluster = (_log_shares(part) for part in (cells, truth, clusters))
    entropy = -float(np.mean(log_class + log_cluster))
    if entropy == 0:
        return 1.0, np.zeros(len(truth))
    value = 2 * float(np.mean(log_joint - log_class - log_cluster)) / entropy
    return value, (2 * (log_joint - log_class - log_cluster) + value * (log_class + log_cluster)) / entropy


def _log_shares(groups: Labels) -> Floats:
    """Return, for each example, the log of its group's share of all."""
    shares: Floats = np.log(np.bincount(groups)[groups] / len(groups))
    return shares
