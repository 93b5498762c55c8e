"""InfoNCE at every nested width: the task loss of MRL, and of everything built on it."""

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar, Literal

from mipic_bench.errors import UserError
from mipic_bench.objectives._term import Nesting, Reduction, Term, Weight
from mipic_bench.registry import lazy

if TYPE_CHECKING:
    import torch

    from mipic_bench.states import States
else:
    torch = lazy("torch")


def nested_cosines(left: "torch.Tensor", right: "torch.Tensor", dims: Sequence[int]) -> "torch.Tensor":
    """Return the cosine similarities of two sets of vectors at every prefix, in one pass.

    With x = [b1 | b2 | ...] split at the dims, the products of a prefix are the running sum of the products of its blocks,
    so no coordinate is multiplied twice.

    Args:
        left: (row, dim). right: (column, dim). dims: rising widths, none above dim.

    Returns:
        (len(dims), row, column), float32 (float64 for float64 input); each prefix is normalised by itself.
    """
    with torch.autocast(left.device.type, enabled=False):
        left, right = (x if x.dtype == torch.float64 else x.float() for x in (left, right))
        edges = list(pairwise((0, *dims)))
        products = torch.stack([left[:, a:b] @ right[:, a:b].T for a, b in edges]).cumsum(0)
        left_norms, right_norms = (
            torch.stack([x[:, a:b].square().sum(1) for a, b in edges]).cumsum(0).clamp(min=1e-24).rsqrt()
            for x in (left, right)
        )
        return products * left_norms.unsqueeze(2) * right_norms.unsqueeze(1)


def nested_info_nce(
    anchors: "torch.Tensor",
    positives: "torch.Tensor",
    dims: Sequence[int],
    temperature: float,
    negatives: "torch.Tensor | None" = None,
    same: "torch.Tensor | None" = None,
) -> "torch.Tensor":
    """Return one InfoNCE per prefix: mean_n CE(cos(a_n, p_j) / temperature over j, label n) on the first dim coordinates.

    MIPIC Eq 1 and 19 (arXiv 2604.24374); MRL (arXiv 2205.13147) with in-batch negatives, one direction.

    Args:
        anchors: (batch, dim). positives: (batch, dim).
        dims: rising widths, none above dim.
        temperature: divides the cosines.
        negatives: (batch, dim) or (batch, k, dim) hard negatives; every one is a candidate of every anchor.
        same: (batch, batch), True where positive j holds the same text as example n: such a pair is no negative and is
            left out (the diagonal is always kept).

    Returns:
        (len(dims),) one cross-entropy per prefix, prefixes L2-normalised, mean over the batch; in float32.
    """
    candidates = positives if negatives is None else torch.cat([positives, negatives.reshape(-1, negatives.shape[-1])])
    logits = nested_cosines(anchors, candidates, dims) / temperature
    batch = len(anchors)
    if same is not None:
        others = same & ~torch.eye(batch, dtype=torch.bool, device=same.device)
        hidden = torch.nn.functional.pad(others, (0, len(candidates) - batch))
        logits = logits.masked_fill(hidden, float("-inf"))
    labels = torch.arange(batch, device=logits.device)
    return (logits.logsumexp(2) - logits[:, labels, labels]).mean(1)


class NestedInfoNCE(Term):
    """InfoNCE with in-batch (and, for triplets, hard) negatives at every nested width of the last layer."""

    formula: ClassVar[str] = "sum_i w_i InfoNCE(e1[:d_i], e2[:d_i]),  InfoNCE(a, b) = mean_n CE(cos(a_n, b_j) / tau, n)"
    source: ClassVar[str] = "MRL, arXiv 2205.13147; MIPIC Eq 1 and 19, arXiv 2604.24374"

    directions: Literal["one", "both"] = "one"
    reduction: Reduction = "sum"
    dim_weights: tuple[Weight, ...] | None = None
    sampled_dims: int | None = None
    mask_duplicates: bool = False

    def resolved(self, nesting: Nesting) -> "NestedInfoNCE":
        """See `Term.resolved`: one weight per width."""
        weights = self.dim_weights or (1.0,) * len(nesting.dims)
        if len(weights) != len(nesting.dims):
            what = f"{len(weights)} weights for {len(nesting.dims)} widths {list(nesting.dims)}"
            raise UserError("dim_weights", what, "give one weight per width")
        if self.sampled_dims is not None and not 1 <= self.sampled_dims <= len(nesting.dims):
            what = f"{self.sampled_dims} widths are to be sampled of {len(nesting.dims)}"
            raise UserError("sampled_dims", what, f"use 1..{len(nesting.dims)}")
        return super().resolved(nesting).model_copy(update={"dim_weights": weights})

    def layers(self, nesting: Nesting) -> tuple[int, ...]:
        """See `Term.layers`: the last one."""
        return (nesting.shape.depth,)

    def loss(self, states: "States", nesting: Nesting, heads: "torch.nn.Module | None") -> "torch.Tensor":
        """See `Term.loss`."""
        assert self.temperature is not None and self.dim_weights is not None
        anchors, positives, *negatives = states.split(states.embedding(nesting.shape.depth))
        hard = negatives[0] if negatives else None
        same = states.same if self.mask_duplicates else None
        values = nested_info_nce(anchors, positives, nesting.dims, self.temperature, hard, same)
        if self.directions == "both":
            values = (values + nested_info_nce(positives, anchors, nesting.dims, self.temperature, None, same)) / 2
        values = values * values.new_tensor(self.dim_weights)
        if self.sampled_dims is not None:
            drawn = torch.randperm(len(values), generator=states.generator())[: self.sampled_dims]
            values = values[drawn.to(values.device)]
        return values.sum() if self.reduction == "sum" else values.mean()
