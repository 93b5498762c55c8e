"""The task loss at every nested width: MRL, and the ground everything else is built on."""

import math
from typing import TYPE_CHECKING, ClassVar, Literal

from mipic_bench.errors import UserError
from mipic_bench.objectives._task import TaskTerm, nested_info_nce
from mipic_bench.objectives._term import Nesting, Reduction
from mipic_bench.registry import lazy
from mipic_bench.settings import Count, Weight

if TYPE_CHECKING:
    import torch

    from mipic_bench.states import States
else:
    torch = lazy("torch")

__all__ = ["NestedInfoNCE", "log_weights", "nested_info_nce"]


def log_weights(count: int) -> tuple[float, ...]:
    """Return 1 / (1 + ln(i + 1)) for i = 0, 1, ...: the narrowest of `count` widths weighs most (MIPIC's lab repository)."""
    return tuple(1 / (1 + math.log(place + 1)) for place in range(count))


class NestedInfoNCE(TaskTerm):
    """The task loss (InfoNCE with in-batch and, for triplets, hard negatives; CoSENT on scored pairs) at every nested width."""

    formula: ClassVar[str] = "sum_i w_i InfoNCE(e1[:d_i], e2[:d_i]),  InfoNCE(a, b) = mean_n CE(cos(a_n, b_j) / tau, n)"
    source: ClassVar[str] = "MRL, arXiv 2205.13147; MIPIC Eq 1 and 19, arXiv 2604.24374"

    reduction: Reduction = "sum"
    dim_weights: Literal["uniform", "log", "width", "full"] | tuple[Weight, ...] = "uniform"
    sampled_dims: Literal["all"] | Count = "all"

    def resolved(self, nesting: Nesting) -> "NestedInfoNCE":
        """See `Term.resolved`: one weight per width."""
        named = {
            "uniform": (1.0,) * len(nesting.dims),
            "log": log_weights(len(nesting.dims)),
            "width": tuple(dim / nesting.shape.width for dim in nesting.dims),
            "full": (*(0.0,) * (len(nesting.dims) - 1), 1.0),
        }
        weights = named[self.dim_weights] if isinstance(self.dim_weights, str) else self.dim_weights
        if len(weights) != len(nesting.dims):
            what = f"{len(weights)} weights for {len(nesting.dims)} widths {list(nesting.dims)}"
            raise UserError("dim_weights", what, "give one weight per width, ascending")
        if self.sampled_dims != "all" and self.sampled_dims > len(nesting.dims):
            what = f"{self.sampled_dims} widths are to be sampled of {len(nesting.dims)}"
            raise UserError("sampled_dims", what, f"use 1..{len(nesting.dims)}")
        return super().resolved(nesting).model_copy(update={"dim_weights": weights})

    def layers(self, nesting: Nesting) -> tuple[int, ...]:
        """See `Term.layers`: the last one."""
        return (nesting.shape.depth,)

    def loss(self, states: "States", nesting: Nesting, heads: "torch.nn.Module | None") -> "torch.Tensor":
        """See `Term.loss`."""
        values = self.task_values(states, states.embedding(nesting.shape.depth), nesting.dims)
        values = values * values.new_tensor(self.dim_weights)
        if self.sampled_dims != "all":
            drawn = torch.randperm(len(values), generator=states.generator())[: self.sampled_dims]
            values = values[drawn.to(values.device)]
        return values.sum() if self.reduction == "sum" else values.mean()
