"""Loops for the four public functions of MIPIC, written from the formulas and never from the fast code.

Everything is float64, one example, one token and one width at a time, so that a reader can lay a function beside the
paper. Nothing here is quick, batched or numerically clever, and nothing may be imported from ``mipic_bench``.

Source of the formulas: "MIPIC" (arXiv 2604.24374). The paper's text was not at hand: the equations are those that the
authors' laboratory quotes by number in the docstrings of its repository (duncan-nguyen/embedding-mrl, commit c905899c).
"""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

Vector = Tensor  # one axis, float64
Scalar = Tensor  # no axis, float64


def dot(a: Vector, b: Vector) -> Scalar:
    """a . b"""
    return (a * b).sum()


def cosine(a: Vector, b: Vector) -> Scalar:
    """cos(a, b) = a . b / (|a| |b|); no guard, so vectors must not be zero."""
    return dot(a, b) / (dot(a, a).sqrt() * dot(b, b).sqrt())


def log_sum_exp(values: Sequence[Scalar]) -> Scalar:
    """log sum_i exp(values_i), with the largest value taken out so that nothing overflows."""
    largest = max(v.item() for v in values)
    total = torch.zeros((), dtype=torch.float64)
    for v in values:
        total = total + (v - largest).exp()
    return total.log() + largest


def softmax(values: Sequence[Scalar]) -> list[Scalar]:
    """exp(values_i) / sum_j exp(values_j)"""
    norm = log_sum_exp(values)
    return [(v - norm).exp() for v in values]


def mean(values: Sequence[Scalar]) -> Scalar:
    """The plain mean."""
    return total(values) / len(values)


def total(values: Sequence[Scalar]) -> Scalar:
    """The plain sum."""
    result = torch.zeros((), dtype=torch.float64)
    for v in values:
        result = result + v
    return result


def info_nce(
    anchors: Tensor,
    positives: Tensor,
    temperature: float,
    negatives: Tensor | None = None,
    texts: Sequence[str] | None = None,
) -> Scalar:
    """InfoNCE in one direction: -1/B sum_n log( exp(cos(a_n, p_n)/tau) / sum_c exp(cos(a_n, c)/tau) ).

    The candidates c are all positives of the batch and, if there are any, *all* hard negatives of the batch: those
    of the other examples too (as in supervised SimCSE and in MultipleNegativesRankingLoss).

    Args:
        anchors, positives: (batch, dim).
        negatives: (batch, dim), or (batch, k, dim) for k hard negatives per example.
        texts: one per example; candidate positives whose text equals the anchor's are left out of the sum, the own positive
            never is. Hard negatives are never left out.

    Source: Eq 1 and 16 of MIPIC; arXiv 1807.03748.
    """
    losses = []
    for n in range(len(anchors)):
        scores = []
        for j in range(len(positives)):
            if texts is not None and j != n and texts[j] == texts[n]:
                continue
            scores.append(cosine(anchors[n], positives[j]) / temperature)
        if negatives is not None:
            for j in range(len(negatives)):
                own = negatives[j] if negatives.dim() == 3 else [negatives[j]]
                for negative in own:
                    scores.append(cosine(anchors[n], negative) / temperature)
        losses.append(log_sum_exp(scores) - cosine(anchors[n], positives[n]) / temperature)
    return mean(losses)


def nested_info_nce(
    anchors: Tensor,
    positives: Tensor,
    dims: Sequence[int],
    temperature: float,
    negatives: Tensor | None = None,
    texts: Sequence[str] | None = None,
) -> Tensor:
    """L_MRL before it is summed (Eq 1, 19): InfoNCE of each prefix, cut first and normalised afterwards.

    Returns:
        (len(dims),)
    """
    losses = []
    for d in dims:
        cut = None if negatives is None else negatives[..., :d]
        losses.append(info_nce(anchors[:, :d], positives[:, :d], temperature, cut, texts))
    return torch.stack(losses)


def attention_kl(
    hidden: Tensor,
    query: Tensor,
    mask: Tensor,
    dims: Sequence[int],
    lifts: Sequence[Tensor | None] | None,
    temperature: float,
    direction: Literal["reverse", "forward"] = "reverse",
    detach: bool = False,
    eps: float = 1e-8,
) -> Tensor:
    """L_att of each width (Eq 4 - 6), mean over the batch.

        s_j^D = q . h_j / sqrt(D)                    a_D = softmax(s^D / tau)      over the real tokens j of one text
        s_j^i = q . (P_i h_j[:d_i]) / sqrt(D)        a_i = softmax(s^i / tau)
        reverse (the paper): KL(a_i || a_D) = sum_j (a_i + eps) ( log(a_i + eps) - log(a_D + eps) )
        forward            : KL(a_D || a_i), with the same eps

    q is the full-width query in both (the first token's state, in the paper). Without a lift, the score of a prefix is
    q[:d_i] . h_j[:d_i] / sqrt(D), divided by the full width's root so that at d_i = D it is the teacher's.

    Args:
        hidden: (batch, token, dim).
        query: (batch, dim).
        mask: (batch, token), 1 at real tokens, special tokens included; 0 at pads.
        lifts: lifts[i] is P_i, (dim, dims[i]), or None.
        detach: the teacher a_D is a constant. The query stays a variable in a_i.

    Doubts: eps is the laboratory's, not the paper's (with tau = 0.05 the teacher is nearly one-hot, so that it
        matters); so is that nothing is detached.
    """
    full = hidden.shape[-1]
    losses = []
    for i, d in enumerate(dims):
        lift = None if lifts is None else lifts[i]
        per_example = []
        for n in range(len(hidden)):
            teacher_scores, student_scores = [], []
            for j in range(hidden.shape[1]):
                if not mask[n, j]:
                    continue
                h = hidden[n, j]
                teacher_scores.append(dot(query[n], h) / math.sqrt(full) / temperature)
                if lift is None:
                    score = dot(query[n, :d], h[:d])
                else:
                    lifted = torch.stack([dot(lift[row], h[:d]) for row in range(full)])
                    score = dot(query[n], lifted)
                student_scores.append(score / math.sqrt(full) / temperature)
            teacher, student = softmax(teacher_scores), softmax(student_scores)
            if detach:
                teacher = [a.detach() for a in teacher]
            p, q = (student, teacher) if direction == "reverse" else (teacher, student)
            per_example.append(
                total([(a + eps) * ((a + eps).log() - (b + eps).log()) for a, b in zip(p, q, strict=True)])
            )
        losses.append(mean(per_example))
    return torch.stack(losses)


def best_tokens(scores: Vector, mask: Vector) -> list[int]:
    """Real tokens, best score first; of equal scores the earlier token first."""
    real = [j for j in range(len(scores)) if mask[j]]
    return sorted(real, key=lambda j: (-scores[j].item(), j))


def number_of_tokens(gamma: float, m: int, k_min: int, real: int) -> int:
    """k_i = max(k_min, ceil(gamma_i m)), then no more than there are real tokens (Eq 7, appendix A.5)."""
    return min(max(k_min, math.ceil(gamma * m)), real)


def cka(x: Sequence[Vector], y: Sequence[Vector], eps: float = 1e-8) -> Scalar:
    """Linear CKA by its definition, ||X^T Y||_F^2 / (||X^T X||_F ||Y^T Y||_F + eps), columns centred (Eq 8 - 11).

    Args:
        x, y: the rows of X and Y: the same tokens, in the same order.

    Doubts: eps is the laboratory's. Without it a single token (zero after centring) is 0/0; with it its CKA is 0.
    """
    x_mean, y_mean = sum(x) / len(x), sum(y) / len(y)
    x = [row - x_mean for row in x]
    y = [row - y_mean for row in y]
    return frobenius_squared(x, y) / (root(frobenius_squared(x, x)) * root(frobenius_squared(y, y)) + eps)


def frobenius_squared(x: Sequence[Vector], y: Sequence[Vector]) -> Scalar:
    """||X^T Y||_F^2, entry (a, b) of X^T Y being sum_t x_t[a] y_t[b]."""
    entries = []
    for a in range(len(x[0])):
        for b in range(len(y[0])):
            entry = total([x[t][a] * y[t][b] for t in range(len(x))])
            entries.append(entry * entry)
    return total(entries)


def root(value: Scalar) -> Scalar:
    """The square root; of zero it is a constant zero, for the slope there is infinite."""
    return value.sqrt() if value.item() > 0 else torch.zeros((), dtype=torch.float64)


def topk_cka(
    hidden: Tensor,
    scores: Tensor,
    mask: Tensor,
    dims: Sequence[int],
    gammas: Sequence[float],
    k_min: int = 8,
    length: Literal["padded", "real"] = "padded",
    fixed_k: int | None = None,
    detach: bool = False,
    eps: float = 1e-8,
) -> Tensor:
    """L_CKA of each width (Eq 7 - 12): 1 - CKA(X, Y) over the k_i best tokens of each text, mean over the batch.

    X are the tokens' first d_i coordinates, Y all of them. Tokens are ranked once, by the teacher's scores, so that
    the sets are nested.

    Args:
        hidden: (batch, token, dim).
        scores: (batch, token), only the order counts, no gradient.
        mask: (batch, token); pads are never chosen.
        length: m in k_i: the batch's padded length (as recorded), or the text's own number of tokens.
        fixed_k: k_i = fixed_k for every width (cut to the real tokens), instead of the rule.
        detach: Y is a constant.

    Doubts: the laboratory cuts every k_i to the real tokens of the *shortest* text in the batch; here each text is
        cut to its own. Where m counts special tokens the paper is silent; they count here.
    """
    losses = []
    for d, gamma in zip(dims, gammas, strict=True):
        per_example = []
        for n in range(len(hidden)):
            ranked = best_tokens(scores[n], mask[n])
            real = len(ranked)
            k = number_of_tokens(gamma, hidden.shape[1] if length == "padded" else real, k_min, real)
            if fixed_k is not None:
                k = min(fixed_k, real)
            x = [hidden[n, j, :d] for j in ranked[:k]]
            y = [hidden[n, j].detach() if detach else hidden[n, j] for j in ranked[:k]]
            per_example.append(1 - cka(x, y, eps))
        losses.append(mean(per_example))
    return torch.stack(losses)


def chain_info_nce(source: Tensor, target: Tensor, temperature: float) -> Scalar:
    """One link of PIC (Eq 15, 16): InfoNCE(phi(z_t), z_{t+1}), in-batch negatives, one direction.

    Args:
        source: (batch, dim), already projected by phi.
        target: (batch, dim), the next checkpoint's embedding; whether it is detached is the caller's.
    """
    return info_nce(source, target, temperature)
