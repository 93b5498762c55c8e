"""2DMSE: one shallower layer and one narrower width drawn at each step, trained beside the full model and aligned to it."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from mipic_bench.errors import UserError
from mipic_bench.objectives._divergence import coordinate_kl
from mipic_bench.objectives._task import Task, TaskTerm
from mipic_bench.objectives._term import Nesting
from mipic_bench.registry import lazy
from mipic_bench.settings import Positive, Weight

if TYPE_CHECKING:
    import torch

    from mipic_bench.states import States
else:
    torch = lazy("torch")


def two_d_mse(
    last: "torch.Tensor",
    early: "torch.Tensor",
    dim: int,
    task: Task,
    kl_temperature: float = 1.0,
    weights: Sequence[float] = (1.0,) * 6,
) -> "torch.Tensor":
    """Return 2DMSE's six terms on one drawn layer and width, weighted and summed (arXiv 2402.14776 v1 and v3).

    w1 task(X_N) + w2 task(X_l) + w3 task(X_N[:m]) + w4 task(X_l[:m]) + T^2 (w5 KL(X_N || X_l) + w6 KL(X_N[:m] || X_l[:m])), the divergence
    between softmaxes over coordinates, the last layer not detached.

    Args:
        last: (row, dim) embeddings of the last layer, rows = parts x batch. early: the same of the drawn layer.
        dim: the drawn width m, below the full one.
        task: the task loss of such rows at some widths.
        kl_temperature: T.
        weights: w1 to w6.

    Returns:
        A scalar.
    """
    width = last.shape[1]
    (last_narrow, last_full), (early_narrow, early_full) = task(last, (dim, width)), task(early, (dim, width))
    aligned = [coordinate_kl(early[:, :d], last[:, :d], kl_temperature) * kl_temperature**2 for d in (width, dim)]
    values = torch.stack([last_full, early_full, last_narrow, early_narrow, *aligned])
    return (values * values.new_tensor(weights)).sum()


class TwoDMSE(TaskTerm):
    """2D Matryoshka: full and drawn layer, full and drawn width, four task losses and two alignments."""

    formula: ClassVar[str] = (
        "task(X_N) + task(X_l) + task(X_N[:m]) + task(X_l[:m]) + T^2 (KL(X_N || X_l) + KL(X_N[:m] || X_l[:m])),  "
        "l ~ U(1, N-1), m ~ U(dims below D), KL over softmaxed coordinates"
    )
    source: ClassVar[str] = (
        "2DMSE, arXiv 2402.14776 v1 and v3; the weighted sum as in arXiv 2406.01607 Eq 6-11; weights 1 and the factor T^2 from the "
        "authors' first code (AnglE at 74e5ba2)"
    )

    kl_temperature: Positive = 1.0
    weights: Annotated[tuple[Weight, ...], Field(min_length=6, max_length=6)] = (1.0,) * 6

    def resolved(self, nesting: Nesting) -> "TwoDMSE":
        """See `Term.resolved`."""
        if nesting.shape.depth < 2 or not nesting.truncated:
            what = f"depth {nesting.shape.depth} and widths {list(nesting.dims)} leave nothing shallower or narrower to draw"
            raise UserError("dims", what, "use a backbone of two layers or more and a width below the full one")
        return super().resolved(nesting)

    def layers(self, nesting: Nesting) -> tuple[int, ...]:
        """See `Term.layers`: any may be drawn."""
        return tuple(range(1, nesting.shape.depth + 1))

    def loss(self, states: "States", nesting: Nesting, heads: "torch.nn.Module | None") -> "torch.Tensor":
        """See `Term.loss`."""
        draw = states.generator()
        layer = 1 + int(torch.randint(nesting.shape.depth - 1, (), generator=draw))
        dim = nesting.truncated[int(torch.randint(len(nesting.truncated), (), generator=draw))]
        last, early = states.embedding(nesting.shape.depth), states.embedding(layer)
        task = partial(self.task_values, states)
        return two_d_mse(last, early, dim, task, self.kl_temperature, self.weights)
