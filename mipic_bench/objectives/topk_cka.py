"""SIA, second half: a prefix must hold the same token geometry as the full width, on the tokens that matter."""

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from mipic_bench.errors import UserError
from mipic_bench.objectives._term import Layers, Nesting, Reduction, Term
from mipic_bench.objectives.attention_kl import chosen_layers
from mipic_bench.registry import lazy
from mipic_bench.shapes import default_gammas

if TYPE_CHECKING:
    import torch

    from mipic_bench.states import States
else:
    torch = lazy("torch")


def topk_cka(
    hidden: "torch.Tensor",
    scores: "torch.Tensor",
    mask: "torch.Tensor",
    dims: Sequence[int],
    gammas: Sequence[float],
    k_min: int = 8,
    length: Literal["padded", "real"] = "padded",
    *,
    detach: bool = False,
    eps: float = 1e-8,
) -> "torch.Tensor":
    """Return 1 - CKA between each prefix and the full width over the k_i best-scored tokens; MIPIC Eq 7-12.

    With the tokens S of an example ranked once by `scores` (so S_1 is inside S_2, ...), k_i = max(k_min, ceil(gamma_i m)), cut to the real
    tokens: CKA = <K, L> / (|K| |L| + eps), K and L the centred Gram matrices of the prefix and of the full width on S_i.
    Gram matrices of all prefixes are running sums of per-block products, so the D x D matrices of the literal formula
    are never made: <K, L> = |X^T Y|_F^2.

    Args:
        hidden: (batch, token, dim). scores: (batch, token), higher is kept first; no gradient flows into them.
        mask: (batch, token), 1 on tokens that may be chosen.
        dims: rising widths of the prefixes. gammas: share of tokens kept, one per width.
        k_min: least number of tokens kept.
        length: m is the padded length of the batch ("padded", as recorded) or the example's own number of tokens ("real").
        detach: whether the full width is a fixed teacher (no gradient).
        eps: added to the denominator.

    Returns:
        (len(dims),) one value per prefix, mean over the batch; in float32 (float64 for float64 input).
    """
    with torch.autocast(hidden.device.type, enabled=False):
        hidden = hidden if hidden.dtype == torch.float64 else hidden.float()
        kept = kept_tokens(scores, mask, gammas, k_min, length)
        return _one_minus_cka(hidden, kept, dims, detach, eps).mean(1)


def kept_tokens(
    scores: "torch.Tensor", mask: "torch.Tensor", gammas: Sequence[float], k_min: int, length: str
) -> "torch.Tensor":
    """Return which tokens each width keeps: (len(gammas), batch, token), True on the k_i best of the real tokens."""
    real = mask.bool()
    order = scores.detach().masked_fill(~real, float("-inf")).argsort(dim=1, descending=True, stable=True)
    rank = torch.empty_like(order).scatter_(
        1, order, torch.arange(order.shape[1], device=order.device).expand_as(order)
    )
    m = real.sum(1) if length == "real" else torch.full((len(real),), real.shape[1], device=real.device)
    # float64 and a hair off, so that 0.7 * 10 is seven tokens and not eight
    share = torch.tensor(gammas, dtype=torch.float64, device=real.device).unsqueeze(1)
    k = (share * m.double() - 1e-9).ceil().clamp(min=k_min)
    return (rank.unsqueeze(0) < k.unsqueeze(2)) & real


def _one_minus_cka(
    hidden: "torch.Tensor", kept: "torch.Tensor", dims: Sequence[int], detach: bool, eps: float
) -> "torch.Tensor":
    """Return 1 - CKA of each width and example, (len(dims), batch)."""
    edges = list(pairwise((0, *dims, hidden.shape[2])))
    blocks = torch.stack([hidden[..., a:b] @ hidden[..., a:b].transpose(1, 2) for a, b in edges if b > a])
    grams = blocks.cumsum(0)
    full = grams[-1].detach() if detach else grams[-1]
    weights = kept.to(hidden.dtype)
    pairs = weights.unsqueeze(3) * weights.unsqueeze(2)
    count = weights.sum(2)
    prefix_gram = _centred(grams[: len(dims)] * pairs, pairs, count)
    full_gram = _centred(full * pairs, pairs, count)
    inner = (prefix_gram * full_gram).sum((2, 3))
    norms = prefix_gram.square().sum((2, 3)) * full_gram.square().sum((2, 3))
    return 1 - inner / (norms.clamp(min=1e-30).sqrt() + eps)


def _centred(gram: "torch.Tensor", pairs: "torch.Tensor", count: "torch.Tensor") -> "torch.Tensor":
    """Centre Gram matrices (width, batch, token, token) over the kept tokens; zero elsewhere."""
    row_mean = gram.sum(3) / count.unsqueeze(2)
    mean = row_mean.sum(2) / count
    return (gram - row_mean.unsqueeze(3) - row_mean.unsqueeze(2) + mean.unsqueeze(2).unsqueeze(3)) * pairs


class TopkCKA(Term):
    """Top-k CKA self-distillation between each prefix and the full width, at the chosen layers (SIA, second half)."""

    formula: ClassVar[str] = (
        "sum_l sum_i (1 - CKA(H_l[S_i, :d_i], H_l[S_i, :D])),  S_i = the k_i tokens with the largest q . h_j,  "
        "k_i = max(8, ceil(gamma_i m))"
    )
    source: ClassVar[str] = "MIPIC Eq 7-12, arXiv 2604.24374; q is the backbone's own readout (the paper's is CLS)"

    layer_set: Layers | Literal["default", "last"] = "default"
    reduction: Reduction = "sum"
    gammas: tuple[Annotated[float, Field(gt=0, le=1)], ...] | None = None
    k_min: Annotated[int, Field(ge=2)] = 8
    length: Literal["padded", "real"] = "padded"
    special_tokens: bool = True
    detach: bool = False

    def resolved(self, nesting: Nesting) -> "TopkCKA":
        """See `Term.resolved`: layers and gammas as numbers."""
        gammas = self.gammas or default_gammas(len(nesting.truncated))
        if len(gammas) != len(nesting.truncated):
            what = f"{len(gammas)} gammas for {len(nesting.truncated)} truncated widths {list(nesting.truncated)}"
            raise UserError("topk_cka.gammas", what, "give one gamma per truncated width, ascending")
        layers = chosen_layers("topk_cka.layer_set", self.layer_set, nesting)
        return super().resolved(nesting).model_copy(update={"layer_set": layers, "gammas": gammas})

    def layers(self, nesting: Nesting) -> tuple[int, ...]:
        """See `Term.layers`."""
        return chosen_layers("topk_cka.layer_set", self.layer_set, nesting)

    def loss(self, states: "States", nesting: Nesting, heads: "torch.nn.Module | None") -> "torch.Tensor":
        """See `Term.loss`; every layer and row at once."""
        if not nesting.truncated:
            return states.mask.new_zeros((), dtype=torch.float32)
        layers = self.layers(nesting)
        gammas = self.gammas or default_gammas(len(nesting.truncated))
        with torch.autocast(states.mask.device.type, enabled=False):
            hidden = states.stacked(layers)
            with torch.no_grad():
                scores = torch.bmm(hidden, states.queries(layers).unsqueeze(2)).squeeze(2)
                mask = states.mask.bool() if self.special_tokens else states.mask.bool() & ~states.special
                kept = kept_tokens(scores, mask.repeat(len(layers), 1), gammas, self.k_min, self.length)
            values = _one_minus_cka(hidden, kept, nesting.truncated, self.detach, 1e-8)
        per_row = values.sum() if self.reduction == "sum" else values.mean(0).sum() / len(layers)
        return per_row / len(states.mask)
