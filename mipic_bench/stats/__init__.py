"""Numbers in, estimates with intervals out.

What varies is the trained model: everything scored on one model shares its luck, so a seed is one observation and
(task, seed) pairs are not. Means are over tasks, then over seeds.

    low, high             tasks fixed: a t interval over seeds; from 10 seeds on a bootstrap of whole seeds
    low_wide, high_wide   tasks as a sample too: for sentences that speak beyond the tasks that were scored

Functions on arrays take (seed, task) with NaN where a cell is missing; functions on rows take a frame with the columns
of `mipic_bench.results.rows.COLUMNS` and return tidy frames. Values and differences are fractions (0.01 is one point).
Nothing here draws from a global generator: equal input gives equal output.
"""

from .budgets import area, budgets, retention, retentions, smallest_dim
from .estimates import Estimate, estimate, verdict
from .examples import bootstrap_examples, difference_from_stderr
from .grid import FAMILY_MEAN, mean_over_dims
from .intervals import interval
from .levels import scores
from .paired import Difference, difference, differences, probability_of_improvement
from .parts import interquartile_mean
from .power import detectable, power, seeds_needed
from .questions import questions
from .ranks import Ranking, rank, ranking
from .significance import holm, paired_p, sign_flip_p, t_test_p

__all__ = [
    "FAMILY_MEAN",
    "Difference",
    "Estimate",
    "Ranking",
    "area",
    "bootstrap_examples",
    "budgets",
    "detectable",
    "difference",
    "difference_from_stderr",
    "differences",
    "estimate",
    "holm",
    "interquartile_mean",
    "interval",
    "mean_over_dims",
    "paired_p",
    "power",
    "probability_of_improvement",
    "questions",
    "rank",
    "ranking",
    "retention",
    "retentions",
    "scores",
    "seeds_needed",
    "sign_flip_p",
    "smallest_dim",
    "t_test_p",
    "verdict",
]
