"""Loops for sdr-mrl, and for the two methods on frozen embeddings: matryoshka-adaptor and smec."""

from collections.abc import Sequence

import torch
from loops import Scalar, cosine, log_sum_exp, mean, softmax, total
from loops_tasks import Columns, Task, cut
from torch import Tensor


def neighbours(anchor: int, rows: Tensor, temperature: Scalar | float, queue: Tensor | None) -> list[Scalar]:
    """Logarithm of softmax_j cos(z_i, z_j) / tau over the other rows of the batch, then the queue (constants)."""
    scores = [cosine(rows[anchor], rows[j]) / temperature for j in range(len(rows)) if j != anchor]
    if queue is not None:
        scores += [cosine(rows[anchor], past.detach()) / temperature for past in queue]
    norm = log_sum_exp(scores)
    return [s - norm for s in scores]


def distortion(
    rows: Tensor,
    dim: int,
    teacher_temperature: float = 0.05,
    temperature: Scalar | float = 0.05,
    queue: Tensor | None = None,
) -> Scalar:
    """D_k = mean_i KL( p_T(. | x_i) || q_k(. | z_i) ), full width against the first dim coordinates.

    p_T is a constant (the student's own full-width embedding, "online"); q_k has a temperature of its own, which may be
    learned.

    Args:
        rows: (batch, dim), one view. queue: (past, dim), full width, earlier embeddings.

    Source: duncan-nguyen/embedding-mrl, losses/sdr.py at 8f4d8523, Eq 22 - 27.
    """
    per_anchor = []
    for i in range(len(rows)):
        log_p = neighbours(i, rows.detach(), teacher_temperature, queue)
        log_q = neighbours(i, rows[:, :dim], temperature, None if queue is None else queue[:, :dim])
        per_anchor.append(total([p.exp() * (p - q) for p, q in zip(log_p, log_q, strict=True)]))
    return mean(per_anchor)


def sdr(
    views: Sequence[Tensor],
    dims: Sequence[int],
    teacher_temperature: float = 0.05,
    temperatures: Sequence[Scalar | float] | None = None,
    semantic_weight: float = 1.0,
    monotone_weight: float = 0.0,
    queue: Tensor | None = None,
) -> Scalar:
    """lambda_sem sum_k pi_k D_k + lambda_mono sum_k max(0, D_k - constant D_{k-1}), mean over the views; without the task.

    Args:
        views: each (batch, dim).
        dims: the truncated widths, rising; pi_k = 1 / len(dims). The hinge links neighbours in this list only.
        temperatures: tau_k, one per width; 0.05 where None.

    Source: as above, Eq 48, 54, 55, and trainers/sdr.py. Shipped: lambda_sem 1, lambda_mono 0, tau_k learned from 0.05 (clamped
        to [0.01, 1] in log space), a queue of the last 4,096 embeddings.
    """
    temperatures = temperatures or [0.05] * len(dims)
    per_view = []
    for rows in views:
        distortions = [
            distortion(rows, d, teacher_temperature, t, queue) for d, t in zip(dims, temperatures, strict=True)
        ]
        loss = semantic_weight * mean(distortions)
        for narrow, wide in zip(distortions, distortions[1:], strict=False):
            rise = wide - narrow.detach()
            if rise.item() > 0:
                loss = loss + monotone_weight * rise
        per_view.append(loss)
    return mean(per_view)


def nearest(anchor: int, rows: Tensor, k: int) -> list[int]:
    """The k other rows of largest cosine to the anchor; of equal ones the earlier first."""
    others = [j for j in range(len(rows)) if j != anchor]
    return sorted(others, key=lambda j: (-cosine(rows[anchor], rows[j]).item(), j))[:k]


def adaptor_pairs(frozen: Tensor, adapted: Tensor, dims: Sequence[int], k: int | None = None) -> Scalar:
    """L_pair, or with k L_topk, of Matryoshka-Adaptor: the mean of | cos(e_i, e_j) - cos(e'_i[:m], e'_j[:m]) |.

    Over the widths m and the ordered pairs i != j of the batch; with k only over j among the k nearest of i by the frozen
    embeddings.

    Args:
        frozen: (batch, dim), e, constants. adapted: (batch, dim), e' = e + f(e). dims: the widths m.

    Source: arXiv 2407.20243 as recorded in our facts (the paper's text was not at hand): it writes sums.
    Doubts: we take means, so that the weights do not depend on batch size, k and the number of widths; k is not recorded.
    """
    terms = []
    for m in dims:
        for i in range(len(frozen)):
            partners = [j for j in range(len(frozen)) if j != i] if k is None else nearest(i, frozen, k)
            for j in partners:
                before = cosine(frozen[i].detach(), frozen[j].detach())
                terms.append((before - cosine(adapted[i, :m], adapted[j, :m])).abs())
    return mean(terms)


def adaptor_change(frozen: Tensor, adapted: Tensor) -> Scalar:
    """L_rec: the mean over texts and coordinates of | f(e) | = | e' - e | (the paper: a sum)."""
    return mean(
        [(adapted[i, c] - frozen[i, c].detach()).abs() for i in range(len(frozen)) for c in range(frozen.shape[1])]
    )


def adaptor_unsupervised(
    frozen: Tensor, adapted: Tensor, dims: Sequence[int], k: int, alpha: float = 1.0, beta: float = 1.0
) -> Scalar:
    """L_topk + alpha L_pair + beta L_rec; alpha = beta = 1."""
    return (
        adaptor_pairs(frozen, adapted, dims, k)
        + alpha * adaptor_pairs(frozen, adapted, dims)
        + beta * adaptor_change(frozen, adapted)
    )


def adaptor_rank(
    queries: Tensor, documents: Tensor, relevance: Sequence[Sequence[float]], dims: Sequence[int]
) -> Scalar:
    """L_rank, mean over widths m, queries i and documents j, k with y_ij > y_ik of (y_ij - y_ik) log(1 + exp(s_ik - s_ij)).

    s_ij is the cosine of the first m coordinates of the adapted query and document. Source and doubts as for L_pair.
    """
    terms = []
    for m in dims:
        for i in range(len(queries)):
            scores = [cosine(queries[i, :m], document[:m]) for document in documents]
            for j in range(len(documents)):
                for k in range(len(documents)):
                    gain = relevance[i][j] - relevance[i][k]
                    if gain > 0:
                        zero = torch.zeros((), dtype=torch.float64)
                        terms.append(gain * log_sum_exp([zero, scores[k] - scores[j]]))
    return mean(terms)


def project(rows: Tensor, projections: Sequence[Tensor]) -> Tensor:
    """SMEC's stages: each projection is square and acts on the coordinates that are left, x <- (x W)[: next width].

    Args:
        rows: (batch, dim). projections: projections[s] is (width_s, width_s), width_0 = dim, each narrower than the one before.

    Returns:
        (batch, width of the last projection). Cut it to the next stage's width.
    """
    for projection in projections:
        width = len(projection)
        rows = torch.stack(
            [torch.stack([(row[:width] * projection[:, c]).sum() for c in range(width)]) for row in rows]
        )
    return rows


def sequential_stage(columns: Columns, projections: Sequence[Tensor], narrow: int, task: Task) -> Scalar:
    """One stage of SMRL: task(x[:D]) + task(x[:D/2]), x through the projections, all but the last frozen.

    Args:
        columns: frozen embeddings. projections: as in project; the last is the stage's own. narrow: the next width.

    Source: SMEC, arXiv 2510.12474, as recorded in our facts (the paper's text was not at hand).
    Doubts: whether a frozen projection's output is cut before the next one acts on it (here: yes), biases (here: none).
    """
    frozen = [p.detach() for p in projections[:-1]]
    reached = [project(column, [*frozen, projections[-1]]) for column in columns]
    return task(reached) + task(cut(reached, narrow))


def chosen_dimensions(
    logits: Tensor, noise: Tensor, narrow: int, temperature: float = 1.0
) -> tuple[list[int], list[Scalar]]:
    """ADS: which coordinates are kept, and the gates on them.

    p = softmax((logits + noise) / T); the ``narrow`` largest are kept, in their old order. A gate is 1 in value and has p's
    slope ("straight through"): 1 + p - constant p.

    Args:
        logits: (dim,), learned. noise: (dim,), Gumbel.

    Source: SMEC as above. Doubts: that it is Gumbel-softmax over coordinates is recorded; the straight-through gate, the
        order of the kept coordinates and the temperature are ours.
    """
    p = softmax(list((logits + noise) / temperature))
    order = sorted(range(len(p)), key=lambda c: (-p[c].item(), c))
    kept = sorted(order[:narrow])
    return kept, [1 + p[c] - p[c].detach() for c in kept]


def memory_loss(frozen: Tensor, reached: Tensor, past: Tensor, past_reached: Tensor, k: int) -> Scalar:
    """S-XBM: the mean over texts i and their k nearest j in the memory of | cos(e_i, e_j) - cos(e'_i, e'_j) |.

    Args:
        frozen: (batch, dim), e, from the frozen backbone. reached: (batch, width), e', projected and cut.
        past: (memory, dim), earlier e, first in first out. past_reached: (memory, width), the same through today's projection.

    Source: SMEC as above. Doubts: sum or mean, the memory's size and k are not recorded; whether the batch itself is in the
        memory is not either (here: only if the caller puts it there).
    """
    terms = []
    for i in range(len(frozen)):
        scores = [cosine(frozen[i].detach(), e.detach()) for e in past]
        best = sorted(range(len(past)), key=lambda j: (-scores[j].item(), j))[:k]
        terms += [(scores[j] - cosine(reached[i], past_reached[j])).abs() for j in best]
    return mean(terms)
