"""Loops for ESE (Espresso Sentence Embeddings, ICLR 2025, arXiv 2402.14776v2): learn-to-express and learn-to-compress."""

import math

import torch
from loops import Scalar, dot, mean, softmax, total
from loops_layers import Layers, coordinate_kl
from loops_tasks import Columns, Task, cut
from torch import Tensor


def compression_basis(rows: Tensor, k: int) -> Tensor:
    """U diag(S) of the k largest singular values of A = row-wise softmax( M^T M / sqrt(dim) ); (dim, k), no gradient.

    Source: AnglE's AngleESETrainer.pca_compress. It uses torch.svd_lowrank, which is approximate and draws random numbers;
        here the decomposition is exact.

    Doubts: the sign of a singular vector is arbitrary, and with svd_lowrank it changes from call to call, so the target of
        AnglE's squared error flips at random. Here each column of U has its largest component (by absolute value) positive. The
        rows are not centred, so this is a PCA in name only. M holds every text of the batch.
    """
    dim = rows.shape[1]
    rows = rows.detach()
    a = torch.stack(
        [
            torch.stack(softmax([dot(rows[:, i], rows[:, j]) / math.sqrt(dim) for j in range(dim)]))
            for i in range(dim)
        ]
    )  # fmt: skip
    u, s, _ = torch.linalg.svd(a)
    columns = []
    for c in range(k):
        vector = u[:, c]
        sign = 1.0 if vector[vector.abs().argmax()] > 0 else -1.0
        columns.append(sign * vector * s[c])
    return torch.stack(columns, dim=1)


def compression_targets(columns: Columns, k: int) -> list[Tensor]:
    """M U diag(S), column by column of the batch, the basis being that of all texts together; constants."""
    basis = compression_basis(torch.cat(list(columns)), k)
    return [column.detach() @ basis for column in columns]


def align(student: Columns, target: Columns, temperature: float = 1.0) -> Scalar:
    """D(a, b) = mean over texts and coordinates of (a - b)^2 + T KL( softmax(b / T) || softmax(a / T) ), mean over texts."""
    squares = []
    for a, b in zip(student, target, strict=True):
        for x, y in zip(a, b, strict=True):
            squares.append(mean([(p - q) ** 2 for p, q in zip(x, y, strict=True)]))
    return mean(squares) + temperature * coordinate_kl(student, target, temperature)


def ese(layers: Layers, k: int, task: Task, temperature: float = 1.0, compress: bool = True) -> Scalar:
    """task(X_N) + task(X_N[:k]) + D(X_N) + 1/(N-1) sum_{i=0}^{N-2} [ task(X_i[:k]) + D(X_i) ] / (1 + ln(1 + i))

    D(X) = align(X[:k], M U diag(S) of X): learn-to-compress. The sum over layers is learn-to-express.

    Args:
        layers: hidden states 0 (the embedding output) to N. State N - 1 is not used.
        k: the width that is compressed to.
        compress: False leaves every D out.

    Source: AnglE's AngleESETrainer (as in its later versions, apply_ese_pca).

    Doubts: the loop runs over hidden states 0..N-2, so that the embedding output has weight 1 and the last but one block none;
        the paper's weight is 1 / (1 + ln i) for layer i < N from 1, which may be meant for blocks 1..N-1. AnglE's task is
        a sum of its angle, cosine and in-batch losses; ours is whatever the recipe names.
    """
    last = max(layers)
    result = task(layers[last]) + task(cut(layers[last], k))
    if compress:
        result = result + align(cut(layers[last], k), compression_targets(layers[last], k), temperature)
    shallow = []
    for i in range(last - 1):
        part = task(cut(layers[i], k))
        if compress:
            part = part + align(cut(layers[i], k), compression_targets(layers[i], k), temperature)
        shallow.append(part / (1 + math.log(1 + i)))
    return result + total(shallow) / (last - 1)
