"""The MIPIC laboratory's stand-in for ESE: nested task losses at the last and at a drawn layer, no PCA and no alignment."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from mipic_bench.errors import UserError
from mipic_bench.objectives._task import TaskTerm
from mipic_bench.objectives._term import Nesting
from mipic_bench.objectives.adaptive_layer import Sampled, sample
from mipic_bench.objectives.nested_info_nce import log_weights
from mipic_bench.registry import lazy

if TYPE_CHECKING:
    import torch

    from mipic_bench.states import States
else:
    torch = lazy("torch")


def espresso(
    last: "torch.Tensor", early: Sequence["torch.Tensor"], layers: Sequence[int], depth: int
) -> "torch.Tensor":
    """Return sum_i w_i task(X_N[:d_i]) + sum_l u_l sum_i w_i task(X_l[:d_i]), from the task losses of each width.

    w_i = 1 / (1 + ln(i + 1)), i = 0 for the narrowest; u_l = 1 / (1 + ln(N + 1 - l)). duncan-nguyen/embedding-mrl, losses/ese.py at
    e2107890.

    Args:
        last: (width,) task losses of the last layer. early: the same of each drawn layer.
        layers: the drawn layers l, 1..N-1. depth: N.

    Returns:
        A scalar.
    """
    weights = last.new_tensor(log_weights(len(last)))
    total = (weights * last).sum()
    for values, layer in zip(early, layers, strict=True):
        total = total + (weights * values).sum() / (1 + math.log(depth + 1 - layer))
    return total


class Espresso(TaskTerm):
    """Nested task losses that favor narrow widths, at the last layer and at a drawn one that weighs more the deeper it is."""

    formula: ClassVar[str] = (
        "sum_i w_i task(X_N[:d_i]) + u_l sum_i w_i task(X_l[:d_i]),  w_i = 1 / (1 + ln(i + 1)),  "
        "u_l = 1 / (1 + ln(N + 1 - l)),  l ~ U(1, N-1)"
    )
    source: ClassVar[str] = (
        'duncan-nguyen/embedding-mrl, losses/ese.py ("EPRESSO") at e2107890: not the method of the ESE paper'
    )

    sampled_layers: Sampled = 1

    def resolved(self, nesting: Nesting) -> "Espresso":
        """See `Term.resolved`."""
        most = nesting.shape.depth - 1
        if most < 1 or (self.sampled_layers != "all" and self.sampled_layers > most):
            raise UserError(
                "sampled_layers", f"{self.sampled_layers} are to be drawn of {most}", "use a deeper backbone"
            )
        return super().resolved(nesting)

    def layers(self, nesting: Nesting) -> tuple[int, ...]:
        """See `Term.layers`: any may be drawn."""
        return tuple(range(1, nesting.shape.depth + 1))

    def loss(self, states: "States", nesting: Nesting, heads: "torch.nn.Module | None") -> "torch.Tensor":
        """See `Term.loss`."""
        depth = nesting.shape.depth
        drawn = sample(range(1, depth), self.sampled_layers, states.generator())
        last, *early = [self.task_values(states, states.embedding(layer), nesting.dims) for layer in (depth, *drawn)]
        return espresso(last, early, drawn, depth)
