"""Loops for the task losses: MultipleNegativesRanking in one or two directions, CoSENT, the guard against false negatives.

Embeddings come as columns: ``[anchors, positives, negatives...]``, each (batch, dim), float64.
"""

from collections.abc import Callable, Sequence

import torch
from loops import Scalar, cosine, log_sum_exp, mean
from torch import Tensor

Columns = Sequence[Tensor]
Task = Callable[[Columns], Scalar]


def equal_texts(anchors: Sequence[str], positives: Sequence[str]) -> list[list[bool]]:
    """same[n][j]: would example j's positive be a false negative for anchor n?

    It is when it repeats n's positive or n's anchor, or when j's anchor repeats n's (then j's positive suits n too).
    An example is never a false negative of itself: same[n][n] is True here and means "keep".

    Source: none; the guard of issue 3 ("equal texts in a batch are masked"). For SimCSE, where the two columns hold
    the same texts, it is "the texts are equal".
    """
    return [
        [
            positives[j] in (positives[n], anchors[n]) or anchors[j] == anchors[n]
            for j in range(len(anchors))
        ]
        for n in range(len(anchors))
    ]  # fmt: skip


def ranking(
    columns: Columns, scale: float = 20.0, both: bool = False, same: Sequence[Sequence[bool]] | None = None
) -> Scalar:
    """MultipleNegativesRanking: mean_n -log( exp(scale cos(a_n, p_n)) / sum_c exp(scale cos(a_n, c)) ).

    The candidates c of an anchor are all positives and all hard negatives of the batch. With both directions, the loss of each
    positive against all *anchors* (hard negatives have none) is computed too, and the mean of the two is taken.

    Args:
        both: also from positive to anchor.
        same: same[n][j]: leave positive j out for anchor n; and anchor n out for positive j. The diagonal stays.

    Source: sentence-transformers 6.2, MultipleNegativesRankingLoss with directions query_to_doc, and with doc_to_query added
        under partition_mode per_direction. ``same`` is ours; hard negatives are never left out.
    """
    anchors, positives, *negatives = columns
    losses = []
    for n in range(len(anchors)):
        own = scale * cosine(anchors[n], positives[n])
        forward = []
        for j in range(len(positives)):
            if same is None or j == n or not same[n][j]:
                forward.append(scale * cosine(anchors[n], positives[j]))
        for column in negatives:
            for negative in column:
                forward.append(scale * cosine(anchors[n], negative))
        backward = []
        for j in range(len(anchors)):
            if same is None or j == n or not same[j][n]:
                backward.append(scale * cosine(positives[n], anchors[j]))
        if both:
            losses.append((log_sum_exp(forward) - own + log_sum_exp(backward) - own) / 2)
        else:
            losses.append(log_sum_exp(forward) - own)
    return mean(losses)


def cosent(columns: Columns, labels: Sequence[float], scale: float = 20.0) -> Scalar:
    """CoSENT: log( 1 + sum over pairs i, j with label_i > label_j of exp(scale (cos_j - cos_i)) ).

    cos_i is the cosine of pair i. Ties in the labels give no term. One number for the batch, not a mean.

    Source: Su 2022; AnglE's cosine_loss; sentence-transformers 6.2, CoSENTLoss (scale 20).
    """
    first, second = columns
    cosines = [cosine(a, b) for a, b in zip(first, second, strict=True)]
    exponents = [torch.zeros((), dtype=torch.float64)]
    for i in range(len(cosines)):
        for j in range(len(cosines)):
            if labels[i] > labels[j]:
                exponents.append(scale * (cosines[j] - cosines[i]))
    return log_sum_exp(exponents)


def info_nce_task(temperature: float) -> Task:
    """InfoNCE as a task: ranking in one direction at scale 1 / temperature."""
    return lambda columns: ranking(columns, 1 / temperature)


def cut(columns: Columns, dim: int) -> list[Tensor]:
    """The first dim coordinates of every column."""
    return [column[:, :dim] for column in columns]


def nested(columns: Columns, dims: Sequence[int], task: Task, weights: Sequence[float] | None = None) -> Scalar:
    """MRL: sum_d w_d task(first d coordinates).

    Source: arXiv 2205.13147, all weights 1; sentence-transformers 6.2, MatryoshkaLoss. The latter normalizes each prefix,
    which changes nothing here because every task above is made of cosines.
    """
    result = torch.zeros((), dtype=torch.float64)
    for i, dim in enumerate(dims):
        result = result + (1.0 if weights is None else weights[i]) * task(cut(columns, dim))
    return result
