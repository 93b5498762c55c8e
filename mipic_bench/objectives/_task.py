"""The task losses a recipe can choose, each at every prefix in one pass: InfoNCE, and CoSENT for scored pairs."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from mipic_bench.objectives._term import Term, check_dims, wide
from mipic_bench.registry import lazy

if TYPE_CHECKING:
    import torch

    from mipic_bench.states import States
else:
    torch = lazy("torch")

# the task loss of rows (parts x batch, dim) at rising widths, one value per width
Task = Callable[["torch.Tensor", Sequence[int]], "torch.Tensor"]


def nested_cosines(left: "torch.Tensor", right: "torch.Tensor", dims: Sequence[int]) -> "torch.Tensor":
    """Return the cosine similarities of two sets of vectors at every prefix, in one pass.

    With x = [b1 | b2 | ...] split at the dims, the products of a prefix are the running sum of the products of its blocks,
    so no coordinate is multiplied twice.

    Args:
        left: (row, dim). right: (column, dim). dims: rising widths, none above dim.

    Returns:
        (len(dims), row, column), float32 (float64 for float64 input); each prefix is normalised by itself.

    Raises:
        ValueError: the dims do not rise, or one is above dim.
    """
    check_dims(dims, left.shape[1])
    with torch.autocast(left.device.type, enabled=False):
        left, right = map(wide, (left, right))
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
        same: (batch, batch), True at [n, j] where positive j suits example n too: such a pair is no negative and is
            left out (the diagonal is always kept).

    Returns:
        (len(dims),) one cross-entropy per prefix, prefixes L2-normalised, mean over the batch; in float32.

    Raises:
        ValueError: the dims do not rise, or one is above dim.
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


def nested_cosent(
    first: "torch.Tensor", second: "torch.Tensor", scores: "torch.Tensor", dims: Sequence[int], temperature: float
) -> "torch.Tensor":
    """Return one CoSENT per prefix: log(1 + sum over pairs i, j with score_i > score_j of exp((cos_j - cos_i) / temperature)).

    cos_i is the cosine of pair i on the first dim coordinates. Equal scores give no term. Su 2022; sentence-transformers' CoSENTLoss
    (scale 20 is temperature 0.05).

    Args:
        first: (batch, dim). second: (batch, dim). scores: (batch,) gold similarities, on any scale.
        dims: rising widths, none above dim.
        temperature: divides the differences.

    Returns:
        (len(dims),) one number per prefix for the whole batch, in float32 (float64 for float64 input).

    Raises:
        ValueError: the dims do not rise, or one is above dim.
    """
    check_dims(dims, first.shape[1])
    with torch.autocast(first.device.type, enabled=False):
        first, second = map(wide, (first, second))
        products, left, right = (
            torch.stack([(x[:, a:b] * y[:, a:b]).sum(1) for a, b in pairwise((0, *dims))]).cumsum(0)
            for x, y in ((first, second), (first, first), (second, second))
        )
        cosines = products * left.clamp(min=1e-24).rsqrt() * right.clamp(min=1e-24).rsqrt()
        differences = (cosines.unsqueeze(1) - cosines.unsqueeze(2)) / temperature  # (dims, i, j): cos_j - cos_i
        wrong = scores.unsqueeze(1) > scores.unsqueeze(0)
        exponents = differences.masked_fill(~wrong, float("-inf")).flatten(1)
        return torch.cat([torch.zeros_like(exponents[:, :1]), exponents], 1).logsumexp(1)


class TaskTerm(Term):
    """A term built around a task loss: what every recipe may choose about it."""

    task: Literal["auto", "info_nce", "cosent"] = "auto"  # auto: CoSENT on scored pairs, InfoNCE on everything else
    directions: Literal["one", "both"] = "one"
    mask_duplicates: bool = False

    def refusal(self, kind: str) -> str:
        """See `Term.refusal`: CoSENT needs scores."""
        return "task 'cosent' needs scored pairs" if self.task == "cosent" and kind != "scored" else ""

    def task_values(self, states: "States", rows: "torch.Tensor", dims: Sequence[int]) -> "torch.Tensor":
        """Return the task loss of some read-out at every prefix.

        Args:
            states: the batch the rows belong to.
            rows: (row, dim), rows = parts x batch.
            dims: rising widths.

        Returns:
            (len(dims),)
        """
        assert self.temperature is not None
        anchors, positives, *negatives = states.split(rows)
        if states.scores is not None and self.task != "info_nce":
            return nested_cosent(anchors, positives, states.scores, dims, self.temperature)
        hard = negatives[0] if negatives else None
        same = states.same if self.mask_duplicates else None
        values = nested_info_nce(anchors, positives, dims, self.temperature, hard, same)
        if self.directions == "both":
            back = None if same is None else same.T
            values = (values + nested_info_nce(positives, anchors, dims, self.temperature, None, back)) / 2
        return values
