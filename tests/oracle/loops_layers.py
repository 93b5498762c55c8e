"""Loops for the terms over layers: 2DMSE, sentence-transformers' adaptive layers, Starbucks, the laboratory's espresso.

``layers[k]`` holds the pooled embeddings of hidden state k as columns [anchors, positives, negatives...], each
(batch, dim): 0 is the embedding output, 1 the first block, N (the largest) the last. ``task`` maps columns to a loss.
Whatever a method draws at random is an argument.
"""

import math
from collections.abc import Callable, Mapping, Sequence

from loops import Scalar, log_sum_exp, mean, total
from loops_tasks import Columns, Task, cut, nested
from torch import Tensor

Layers = Mapping[int, Columns]


def coordinate_kl(
    student: Columns, teacher: Columns, temperature: float = 1.0, detach: bool = False, dim: int | None = None
) -> Scalar:
    """Mean over all texts of the batch (every column) of KL( softmax(teacher / T) || softmax(student / T) ).

    The softmax runs over the coordinates of one raw embedding (no normalization), cut to dim first if one is given.
    No factor of T is applied here.

    Args:
        detach: the teacher is a constant.
    """
    per_text = []
    for student_column, teacher_column in zip(student, teacher, strict=True):
        for s, t in zip(student_column, teacher_column, strict=True):
            t = t.detach() if detach else t
            log_q, log_p = log_softmax(s[:dim] / temperature), log_softmax(t[:dim] / temperature)
            per_text.append(total([p.exp() * (p - q) for p, q in zip(log_p, log_q, strict=True)]))
    return mean(per_text)


def log_softmax(vector: Tensor) -> list[Scalar]:
    """Logarithms of exp(v_i) / sum_j exp(v_j)."""
    norm = log_sum_exp(list(vector))
    return [v - norm for v in vector]


def two_d_mse(
    layers: Layers,
    layer: int,
    dim: int,
    task: Task,
    temperature: float = 1.0,
    weights: Sequence[float] = (1.0,) * 6,
    detach: bool = False,
) -> Scalar:
    """2DMSE (arXiv 2402.14776, versions 1 and 3): one layer l < N and one width m < d are drawn at each step.

        w1 task(X_N^d) + w2 task(X_l^d) + w3 task(X_N^m) + w4 task(X_l^m)
        + T^2 ( w5 KL(X_N^d || X_l^d) + w6 KL(X_N^m || X_l^m) )         KL between softmaxes over coordinates, X / T

    Source: the sum with weights is from a survey (arXiv 2406.01607, Eq 6 - 11); weights 1 and the factor T^2 are from AnglE's
        first version (commit 74e5ba2), as recorded in our facts.

    Doubts: neither text was at hand. The paper writes KL(X_l, X_N) without saying which is the first argument of the
        divergence; torch's KLDivLoss as AnglE calls it takes the last layer as the reference, as here. AnglE does not detach the
        last layer. The value of T is not recorded for the first version; later versions use 1. l is drawn from 1..N-1.
    """
    last = layers[max(layers)]
    early = layers[layer]
    terms = [
        task(last),
        task(early),
        task(cut(last, dim)),
        task(cut(early, dim)),
        temperature**2 * coordinate_kl(early, last, temperature, detach),
        temperature**2 * coordinate_kl(early, last, temperature, detach, dim),
    ]
    return total([w * term for w, term in zip(weights, terms, strict=True)])


def uniform(layer: int) -> float:
    """sentence-transformers 6.2's default: every drawn layer weighs 1."""
    return 1.0


def linear(layer: int) -> float:
    """sentence-transformers 6.2's "linear": 1 / (1 + k), k = 0 for the embedding output."""
    return 1 / (1 + layer)


def logarithmic(layer: int) -> float:
    """sentence-transformers 6.2's "log": 1 / (1 + ln(1 + k)), k = 0 for the embedding output."""
    return 1 / (1 + math.log(1 + layer))


def adaptive_layer(
    layers: Layers,
    drawn: Sequence[int],
    task: Task,
    early_task: Task | None = None,
    weighting: Callable[[int], float] = uniform,
    kl_temperature: float = 0.3,
    last_weight: float = 1.0,
    prior_weight: float = 1.0,
    kl_weight: float = 1.0,
    detach: bool = True,
) -> Scalar:
    """AdaptiveLayerLoss of sentence-transformers 6.2.

        last_weight task(X_N) + sum over the drawn layers k of
            prior_weight weighting(k) task(X_k) / (number drawn)
            + kl_weight T KL( softmax(X_N / T) || softmax(X_k / T) )        full width, X_N a constant; not divided

    Layers are drawn from 0 (the embedding output) to N - 1, without repetition. kl_temperature 0 leaves the KL out.

    Args:
        early_task: another task at the drawn layers (Matryoshka2dLoss draws a width for each layer anew).
    """
    last = layers[max(layers)]
    result = last_weight * task(last)
    for k in drawn:
        result = result + prior_weight * weighting(k) * (early_task or task)(layers[k]) / len(drawn)
        if kl_temperature > 0:
            kl = coordinate_kl(layers[k], last, kl_temperature, detach)
            result = result + kl_weight * kl_temperature * kl
    return result


def matryoshka_2d(
    layers: Layers,
    drawn: int,
    last_dims: Sequence[int],
    early_dims: Sequence[int],
    task: Task,
    kl_temperature: float = 0.3,
    weighting: Callable[[int], float] = uniform,
) -> Scalar:
    """Matryoshka2dLoss of sentence-transformers 6.2: AdaptiveLayerLoss around MatryoshkaLoss.

    One layer is drawn; one width is drawn for the last layer and, independently, one for the drawn layer (dims with one
    entry each, by default). The KL stays at full width.
    """
    return adaptive_layer(
        layers,
        [drawn],
        lambda columns: nested(columns, last_dims, task),
        lambda columns: nested(columns, early_dims, task),
        weighting,
        kl_temperature,
    )


def matryoshka_2d_before(
    layers: Layers,
    drawn: int,
    last_dims: Sequence[int],
    early_dims: Sequence[int],
    task: Task,
    kl_temperature: float = 0.3,
) -> Scalar:
    """Matryoshka2dLoss before mid-2026, on which published tables rest.

    As now, but: the layer is drawn from the blocks 1..N-1 only, its task weighs 1 / l with l = 1 for the first block, and
    the last layer is not detached in the KL.

    Source: sentence-transformers of October 2025 as recorded in our facts (it counts blocks from 0 and divides by 1 + index);
        the changes are its pull requests 3880 and 3901.
    """
    if drawn < 1:
        raise ValueError("the embedding output was not drawn then")
    return adaptive_layer(
        layers,
        [drawn],
        lambda columns: nested(columns, last_dims, task),
        lambda columns: nested(columns, early_dims, task),
        lambda block: 1 / block,
        kl_temperature,
        detach=False,
    )


def starbucks(
    layers: Layers,
    pairs: Sequence[tuple[int, int]],
    task: Task,
    kl_weight: float = 1.0,
    kl_factor: float = 0.3,
) -> Scalar:
    """Starbucks (arXiv 2410.13230): fixed pairs of a layer and a width, the last of them whole.

        task(X_N) + sum over the earlier pairs (l, d) of
            task(X_l[:d]) + 0.3 kl_weight KL( softmax(X_N[:d]) || softmax(X_l[:d]) )

    Args:
        pairs: (layer, dim), rising; the last is (N, full width).

    Source: ielab/Starbucks, sts/starbucks_loss.py at 6cc89d2d. The "temperature" 0.3 only multiplies; nothing is divided by
        it. The last layer is not detached. The code's matryoshka_weights have no effect.
    """
    (last_layer, full), earlier = pairs[-1], pairs[:-1]
    last = layers[last_layer]
    result = task(cut(last, full))
    for layer, dim in earlier:
        result = result + task(cut(layers[layer], dim))
        result = result + kl_factor * kl_weight * coordinate_kl(layers[layer], last, 1.0, dim=dim)
    return result


def espresso(layers: Layers, drawn: Sequence[int], dims: Sequence[int], task: Task) -> Scalar:
    """The MIPIC laboratory's stand-in for ESE ("EPRESSO"): no PCA, no KL; embeddings are masked means.

        sum_i w_i task(X_N[:d_i]) + sum over the drawn blocks l of u_l sum_i w_i task(X_l[:d_i])
        w_i = 1 / (1 + ln(i + 1)), i = 0 for the narrowest;    u_l = 1 / (1 + ln(N + 1 - l)), l from 1 to N - 1

    Source: duncan-nguyen/embedding-mrl, losses/ese.py at e2107890. One block is drawn at each step.
    """
    weights = [1 / (1 + math.log(i + 1)) for i in range(len(dims))]
    last = max(layers)
    result = nested(layers[last], dims, task, weights)
    for layer in drawn:
        result = result + nested(layers[layer], dims, task, weights) / (1 + math.log(last + 1 - layer))
    return result
