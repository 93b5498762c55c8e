"""ESE (Espresso sentence embeddings): learn to express at every layer, learn to compress onto principal components."""

import math
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal

from mipic_bench.errors import UserError
from mipic_bench.objectives._divergence import coordinate_kl
from mipic_bench.objectives._task import Task, TaskTerm
from mipic_bench.objectives._term import Nesting, wide
from mipic_bench.registry import lazy
from mipic_bench.settings import Count, Positive

if TYPE_CHECKING:
    import torch

    from mipic_bench.states import States
else:
    torch = lazy("torch")


def compression_targets(rows: "torch.Tensor", dim: int) -> "torch.Tensor":
    """Return M U diag(S), A = U S V^T = softmax(M^T M / sqrt(D)) row by row, the `dim` largest singular values; no gradient.

    The decomposition is exact and each column of U has its largest component positive; AnglE's is randomized, its signs arbitrary.

    Args:
        rows: M, (..., row, D). dim: columns kept.

    Returns:
        (..., row, dim), float32 (float64 for float64 input).
    """
    with torch.no_grad(), torch.autocast(rows.device.type, enabled=False):
        rows = wide(rows)
        gram = (rows.transpose(-1, -2) @ rows / rows.shape[-1] ** 0.5).softmax(-1)
        # not by the eigenvectors of A A^T: its first singular value is some thousand times the others, float32 would lose them
        vectors, values, _ = torch.linalg.svd(gram)
        vectors = vectors[..., :dim]
        largest = vectors.gather(-2, vectors.abs().argmax(-2, keepdim=True))
        basis: torch.Tensor = vectors * largest.sign() * values[..., None, :dim]
        return rows @ basis


def align(student: "torch.Tensor", target: "torch.Tensor", temperature: float) -> "torch.Tensor":
    """Return MSE(student, target) + T KL(softmax(target / T) || softmax(student / T)); both (row, dim)."""
    divergence = coordinate_kl(student, target, temperature, detach=True)
    return torch.nn.functional.mse_loss(student.to(target.dtype), target) + temperature * divergence


def ese(
    layers: Sequence["torch.Tensor"],
    dim: int,
    task: Task,
    kl_temperature: float = 1.0,
    *,
    express: bool = True,
    compress: bool = True,
) -> "torch.Tensor":
    """Return ESE's loss: task(X_N) + c(X_N) + 1 / (N-1) sum_{i=0}^{N-2} c(X_i) / (1 + ln(1 + i)), c(X) = task(X[:k]) + D(X).

    D(X) = MSE + T KL between X[:k] and its PCA targets (learn to compress); the sum over layers is learn to express. arXiv 2402.14776 v2;
    SeanLee97/AnglE, AngleESETrainer. Hidden state N-1 is not used, as there.

    Args:
        layers: (row, dim) read-outs of hidden states 0 (the embedding output) to N.
        dim: k.
        task: the task loss of such rows at some widths.
        kl_temperature: T.
        express: whether earlier layers are trained.
        compress: whether D is there.

    Returns:
        A scalar.
    """
    depth = len(layers) - 1
    used = [depth, *range(depth - 1)] if express else [depth]
    targets = compression_targets(torch.stack([layers[place] for place in used]), dim) if compress else ()
    parts = []
    for number, place in enumerate(used):
        part = task(layers[place], (dim,)).sum()
        parts.append(part + align(layers[place][:, :dim], targets[number], kl_temperature) if compress else part)
    total = task(layers[depth], (layers[depth].shape[1],)).sum() + parts[0]
    for place, part in zip(used[1:], parts[1:], strict=True):
        total = total + part / (1 + math.log(1 + place)) / (depth - 1)
    return total


class ESE(TaskTerm):
    """Full and compressed task losses at the last layer, compressed ones at earlier layers, prefixes pulled to PCA targets."""

    formula: ClassVar[str] = (
        "task(X_N) + c(X_N) + 1/(N-1) sum_{i=0}^{N-2} c(X_i) / (1 + ln(1 + i)),  "
        "c(X) = task(X[:k]) + MSE(X[:k], P(X)) + T KL(P(X) || X[:k]),  P(X) = X U diag(S) of softmax(X^T X / sqrt(D))"
    )
    source: ClassVar[str] = "ESE, arXiv 2402.14776 v2 (ICLR 2025); SeanLee97/AnglE, AngleESETrainer"

    # k; by default the widest trained width of at most a sixth of the full one: 128 at 768 and 1024, as in the authors' README
    dim: Literal["default"] | Count = "default"
    kl_temperature: Positive = 1.0
    express: bool = True
    compress: bool = True

    def resolved(self, nesting: Nesting) -> "ESE":
        """See `Term.resolved`: the compressed width as a number."""
        narrow = [dim for dim in nesting.truncated if 6 * dim <= nesting.shape.width] or nesting.truncated[:1]
        if (self.express and nesting.shape.depth < 2) or (self.dim == "default" and not narrow):
            what = (
                f"depth {nesting.shape.depth} and widths {list(nesting.dims)} leave no earlier layer or narrower width"
            )
            raise UserError("dim", what, "use a backbone of two layers or more and a width below the full one")
        dim = narrow[-1] if self.dim == "default" else self.dim
        if dim >= nesting.shape.width:
            what = f"{dim} is not below the backbone's width {nesting.shape.width}"
            raise UserError("dim", what, "give the width to compress to")
        return super().resolved(nesting).model_copy(update={"dim": dim})

    def layers(self, nesting: Nesting) -> tuple[int, ...]:
        """See `Term.layers`: the embedding output and every block but the last but one."""
        depth = nesting.shape.depth
        return (*range(depth - 1), depth) if self.express else (depth,)

    def loss(self, states: "States", nesting: Nesting, heads: "torch.nn.Module | None") -> "torch.Tensor":
        """See `Term.loss`."""
        assert isinstance(self.dim, int)
        depth, used = nesting.shape.depth, self.layers(nesting)
        last = states.embedding(depth)
        read = [states.embedding(layer) if layer in used else last for layer in range(depth + 1)]
        task = partial(self.task_values, states)
        return ese(read, self.dim, task, self.kl_temperature, express=self.express, compress=self.compress)
