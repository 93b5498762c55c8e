"""SIA, first half: a prefix must spread its attention over the tokens as the full width does."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from mipic_bench.objectives._term import LayerTerm, Nesting, Reduction, linear, over_layers, wide
from mipic_bench.registry import lazy
from mipic_bench.settings import Positive

if TYPE_CHECKING:
    import torch

    from mipic_bench.states import States
else:
    torch = lazy("torch")


def attention_kl(
    hidden: "torch.Tensor",
    query: "torch.Tensor",
    mask: "torch.Tensor",
    dims: Sequence[int],
    lifts: "Sequence[torch.Tensor] | None",
    temperature: float,
    *,
    direction: Literal["reverse", "forward"] = "reverse",
    detach: bool = False,
    eps: float = 1e-8,
) -> "torch.Tensor":
    """Return KL(a_i || a_D) between the token attention of each prefix and of the full width; MIPIC Eq 4-6.

    s_j^(D) = q . h_j / sqrt(D),  s_j^(i) = q . (P_i h_j[:d_i]) / sqrt(D),  a = softmax(s / temperature) over real tokens,
    KL = sum_j (a_i + eps) (log(a_i + eps) - log(a_D + eps)). Since q . (P_i h) = (P_i^T q) . h, the query is projected once per
    width instead of every token, and all widths share one product with the hidden states.

    Args:
        hidden: (batch, token, dim). query: (batch, dim). mask: (batch, token), 1 on real tokens.
        dims: widths of the prefixes.
        lifts: one (dim, dims[i]) per width, mapping a prefix to full width; None: the prefix meets the query's own prefix.
        temperature: of the softmax.
        direction: "reverse" is KL(prefix || full), as published; "forward" is KL(full || prefix).
        detach: whether a_D is a constant; the query still gets a gradient from the prefixes' scores.
        eps: added inside the logarithms.

    Returns:
        (len(dims),) one value per prefix, mean over the batch; in float32 (float64 for float64 input).
    """
    with torch.autocast(hidden.device.type, enabled=False):
        hidden = wide(hidden)
        query, *others = (value.to(hidden.dtype) for value in (query, *(lifts or ())))
        projected = _project(query, dims, None if lifts is None else others)
        return _attention_kl(hidden, projected, query, mask, temperature, direction, detach, eps).mean(1)


def _project(query: "torch.Tensor", dims: Sequence[int], lifts: "Sequence[torch.Tensor] | None") -> "torch.Tensor":
    """Return P_i^T q for every width, zero beyond d_i: (batch, len(dims), dim)."""
    width = query.shape[1]
    if lifts is None:
        kept = torch.arange(width, device=query.device) < torch.tensor(dims, device=query.device).unsqueeze(1)
        return query.unsqueeze(1) * kept
    pieces = [query @ lift for lift in lifts]
    return torch.stack([torch.nn.functional.pad(piece, (0, width - piece.shape[1])) for piece in pieces], 1)


def _attention_kl(
    hidden: "torch.Tensor",
    projected: "torch.Tensor",
    query: "torch.Tensor",
    mask: "torch.Tensor",
    temperature: float,
    direction: str,
    detach: bool,
    eps: float,
) -> "torch.Tensor":
    """Return the divergence of each width and example, (len(dims), batch)."""
    queries = torch.cat([projected, query.unsqueeze(1)], 1)
    scores = torch.bmm(queries, hidden.transpose(1, 2)) / (hidden.shape[2] ** 0.5 * temperature)
    shares = scores.masked_fill(~mask.bool().unsqueeze(1), float("-inf")).softmax(2) + eps
    prefix, full = shares[:, :-1], shares[:, -1:]
    if detach:
        full = full.detach()
    student, teacher = (prefix, full) if direction == "reverse" else (full, prefix)
    return torch.sum(student * (student.log() - teacher.log()), 2).T


class AttentionKL(LayerTerm):
    """Attention-distribution matching between each prefix and the full width, at the chosen layers (SIA, first half)."""

    version: ClassVar[int] = 2  # 2: the heads' start differs from seed to seed

    formula: ClassVar[str] = (
        "sum_l sum_i KL(a_i || a_D),  a_D = softmax(q . h_j / (sqrt(D) tau)),  a_i = softmax(q . P_i h_j[:d_i] / (sqrt(D) tau))"
    )
    source: ClassVar[str] = "MIPIC Eq 4-6, arXiv 2604.24374; q is the backbone's own readout (the paper's is CLS)"

    reduction: Reduction = "sum"
    direction: Literal["reverse", "forward"] = "reverse"
    detach: bool = False
    lift: bool = True
    eps: Positive = 1e-8  # at 0 a token without attention makes the loss NaN

    def heads(self, nesting: Nesting, generator: "torch.Generator") -> "torch.nn.Module | None":
        """One P_i of (dim, d_i) without bias per layer and truncated width, side by side: (layer, dim, sum of d_i)."""
        if not self.lift or not nesting.truncated:
            return None
        width = nesting.shape.width
        lifts = [
            torch.cat([linear(dim, width, generator, bias=False).weight for dim in nesting.truncated], 1)
            for _ in self.layers(nesting)
        ]
        return torch.nn.ParameterDict({"lifts": torch.nn.Parameter(torch.stack(lifts).detach())})

    def loss(self, states: "States", nesting: Nesting, heads: "torch.nn.Module | None") -> "torch.Tensor":
        """See `Term.loss`; every layer and row at once."""
        assert self.temperature is not None
        if not nesting.truncated:
            return states.mask.new_zeros((), dtype=torch.float32)
        layers = self.layers(nesting)
        with torch.autocast(states.mask.device.type, enabled=False):
            query = states.queries(layers)
            projected = self._projected(query, nesting, heads, len(layers))
            mask = states.mask.repeat(len(layers), 1)
            values = _attention_kl(
                states.stacked(layers), projected, query, mask, self.temperature, self.direction, self.detach, self.eps
            )
        return over_layers(values, self.reduction, len(layers), len(states.mask))

    def _projected(
        self, query: "torch.Tensor", nesting: Nesting, heads: "torch.nn.Module | None", layers: int
    ) -> "torch.Tensor":
        if heads is None:
            return _project(query, nesting.truncated, None)
        assert isinstance(heads, torch.nn.ParameterDict)
        width = nesting.shape.width
        projected = torch.bmm(query.view(layers, -1, width), heads["lifts"]).flatten(0, 1)
        pieces = torch.split(projected, list(nesting.truncated), dim=1)
        return torch.stack([torch.nn.functional.pad(piece, (0, width - piece.shape[1])) for piece in pieces], 1)
