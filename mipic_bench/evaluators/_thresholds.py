"""Where to cut a similarity so that everything at or above it is called positive."""

import numpy as np

from mipic_bench.evaluators._cosine import Floats
from mipic_bench.evaluators._estimates import Labels, Ranked, ranked

GRID = np.linspace(0, 1, 200)  # thresholds of the paper's protocol, on (cosine + 1) / 2


def grid_threshold(scores: Floats, labels: Labels) -> float:
    """Return the first of `GRID` with the highest accuracy.

    Args:
        scores: (n,) in [0, 1].
        labels: (n,) 0 or 1.
    """
    in_order = np.sort(scores[labels == 1]), np.sort(scores[labels == 0])
    positives_below, negatives_below = (np.searchsorted(part, GRID, side="left") for part in in_order)
    correct = len(in_order[0]) - positives_below + negatives_below
    return float(GRID[np.argmax(correct)])


def best_accuracy(scores: Floats, labels: Labels, *, extremes: bool = True) -> float:
    """Return the lowest of the thresholds between distinct scores that has the highest accuracy.

    Args:
        scores: (n,) finite.
        labels: (n,) 0 or 1.
        extremes: also consider calling everything, or nothing, positive.
    """
    cuts, hits, named = _cuts(scores, labels, extremes)
    misses = named - hits
    return float(cuts[np.argmax(hits + (labels == 0).sum() - misses)])


def best_f1(scores: Floats, labels: Labels) -> float:
    """Return the lowest of the thresholds between distinct scores that has the highest F1 of class 1."""
    cuts, hits, named = _cuts(scores, labels, extremes=False)
    return float(cuts[np.argmax(2 * hits / (named + labels.sum()))])


def _cuts(scores: Floats, labels: Labels, extremes: bool) -> tuple[Floats, Labels, Labels]:
    """Return thresholds ascending, and for each how many positives and how many examples lie at or above it."""
    sample: Ranked = ranked(scores)
    in_order, hit = scores[sample.order], labels[sample.order]
    starts = np.flatnonzero(np.r_[True, in_order[1:] > in_order[:-1]])
    inner = starts[1:]
    below, above = in_order[inner - 1], in_order[inner]
    middle = (below + above) / 2
    between = np.where(middle > below, middle, above)  # neighbors in floating point have no number between them
    if extremes or not len(inner):
        starts = np.r_[0, inner, len(scores)]
        between = np.r_[-np.inf, between, np.inf]
    else:
        starts = inner
    hits_from = np.r_[np.cumsum(hit[::-1])[::-1], 0]
    return between, hits_from[starts], len(scores) - starts
