"""SIA, second half: a prefix must hold the same token geometry as the full width, on the tokens that matter."""

from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from math import ceil
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, cast

from pydantic import Field

from mipic_bench.errors import UserError
from mipic_bench.objectives._term import LayerRule, Layers, Nesting, Reduction, Term, chosen_layers, linear
from mipic_bench.registry import lazy
from mipic_bench.shapes import default_gammas

if TYPE_CHECKING:
    import torch

    from mipic_bench.states import States
else:
    torch = lazy("torch")

Share = Annotated[float, Field(ge=0, le=1)]
OWN_WIDTH = 64  # of the space in which the notebooks compare query and tokens


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
    The D x D matrices of the literal formula are never made: <K, L> = |X^T Y|_F^2.

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
        order = best_first(scores, mask)
        counts, most = kept_counts(mask, gammas, k_min, length)
        return _one_minus_cka(hidden, order, counts, most, dims, detach, eps).mean(1)


def best_first(scores: "torch.Tensor", mask: "torch.Tensor") -> "torch.Tensor":
    """Return the tokens in falling order of their scores, those that may not be chosen last.

    Args:
        scores: (batch, token), one ranking for all widths, or (width, batch, token), one each.
        mask: (batch, token), 1 on tokens that may be chosen.
    """
    return scores.detach().masked_fill(~mask.bool(), float("-inf")).argsort(dim=-1, descending=True, stable=True)


def kept_counts(
    mask: "torch.Tensor", gammas: Sequence[float], k_min: int, length: str, counts: Sequence[int] | None = None
) -> "tuple[torch.Tensor, list[int]]":
    """Return how many tokens each width keeps of each example, (width, batch), and a bound on it per width.

    Args:
        mask: (batch, token).
        gammas, k_min, length: see `topk_cka`.
        counts: k_i itself, in place of the three.
    """
    real, padded = mask.sum(1), mask.shape[1]
    if counts is not None:
        k = torch.tensor(counts, device=mask.device).unsqueeze(1)
        most = list(counts)
    else:
        m = real if length == "real" else torch.full_like(real, padded)
        # float64 and a hair off, so that 0.7 * 10 is seven tokens and not eight
        share = torch.tensor(gammas, dtype=torch.float64, device=mask.device).unsqueeze(1)
        k = (share * m.double() - 1e-9).ceil().clamp(min=k_min).long()
        most = [max(k_min, ceil(gamma * padded - 1e-9)) for gamma in gammas]
    return torch.minimum(k, real), [min(bound, padded) for bound in most]


def _one_minus_cka(
    hidden: "torch.Tensor",
    order: "torch.Tensor",
    counts: "torch.Tensor",
    most: Sequence[int],
    dims: Sequence[int],
    detach: bool,
    eps: float,
) -> "torch.Tensor":
    """Return 1 - CKA of each width and example, (len(dims), batch); see `best_first` and `kept_counts`."""
    if order.ndim == 3:  # a ranking per width: nothing is shared
        parts = zip(order, counts.unsqueeze(1), most, dims, strict=True)
        return torch.cat([_one_minus_cka(hidden, one, k, [top], [dim], detach, eps) for one, k, top, dim in parts])
    alignment: torch.Tensor = _alignment()(hidden, order, counts, most, dims, detach, eps)
    return 1 - alignment


@cache
def _alignment() -> Any:
    """Return the centred alignment <K, L> / (|K| |L| + eps) of nested token sets as one operation with its own gradient.

    The best tokens of each example are brought together once, best first. The Gram matrix of a prefix is the running sum of
    the products of its blocks of coordinates, so that no coordinate is multiplied twice, and every width works on the leading
    corner of it, k_i by k_i tokens; backwards the same. Written out, autograd makes a full-size gradient of every slice.
    """

    class Alignment(torch.autograd.Function):
        @staticmethod
        def forward(
            ctx: Any, hidden: Any, order: Any, counts: Any, most: Sequence[int], dims: Any, detach: bool, eps: float
        ) -> Any:
            kept = torch.arange(max(most), device=order.device) < counts.unsqueeze(2)
            weights = kept.to(hidden.dtype)  # (width, batch, k)
            best, places = _gathered(hidden, order[:, : max(most)], weights.amax(0))
            products = _running_products(best, _edges(dims, best.shape[2]))
            values, saved = [], []
            for product, k, weight in zip(products, most, weights, strict=False):
                grams = torch.stack([product[:, :k, :k], products[-1][:, :k, :k]])
                _center(grams, weight[:, :k])
                flat = grams.flatten(2)
                inner = torch.bmm(flat[0].unsqueeze(1), flat[1].unsqueeze(2)).flatten()
                norms = torch.linalg.vector_norm(flat, dim=2).clamp(min=1e-15)
                values.append(inner / (norms[0] * norms[1] + eps))
                saved += [grams, inner, norms]
            ctx.save_for_backward(best, places, *saved)
            ctx.settings = tuple(hidden.shape), list(zip(dims, most, strict=True)), detach, eps
            return torch.stack(values)

        @staticmethod
        def backward(ctx: Any, upstream: Any) -> Any:
            best, places, *saved = ctx.saved_tensors
            shape, sizes, detach, eps = ctx.settings
            with torch.autocast(best.device.type, enabled=False):
                to_full = best.new_zeros(len(best), best.shape[1], best.shape[1])
                to_prefixes = []
                groups = zip(sizes, saved[::3], saved[1::3], saved[2::3], upstream, strict=True)
                for (_, k), grams, inner, (own, other), gradient in groups:
                    # d of <K, L> / (|K| |L| + eps); twice, because each Gram matrix holds the tokens twice
                    across = 2 * gradient / (own * other + eps)
                    along = across * inner / (own * other + eps)
                    across, of_prefix, of_full = (
                        x[:, None, None] for x in (across, along * other / own, along * own / other)
                    )
                    to_prefixes.append((grams[1] * across).sub_(grams[0] * of_prefix))
                    if not detach:
                        to_full[:, :k, :k].add_(grams[0] * across).sub_(grams[1] * of_full)
                rows, most, width = best.shape
                flat = best.new_empty(rows * most + 1, width)
                flat[-1] = 0  # for tokens that no width keeps
                to_best = flat[:-1].view_as(best)
                to_gram = to_full  # of the products that a block of coordinates is part of: all from its width on
                blocks = _edges([dim for dim, _ in sizes], width)
                for place, (start, stop) in reversed(list(enumerate(blocks))):
                    if place < len(sizes):
                        k = sizes[place][1]
                        to_gram[:, :k, :k] += to_prefixes[place]
                    to_best[:, :, start:stop] = torch.bmm(to_gram, best[:, :, start:stop])
                taken = torch.full((shape[0] * shape[1],), rows * most, device=places.device)
                taken[places] = torch.arange(rows * most, device=places.device)
                to_hidden = flat.index_select(0, taken)
            return to_hidden.view(shape), None, None, None, None, None, None

    return Alignment.apply


def _edges(dims: Sequence[int], width: int) -> list[tuple[int, int]]:
    """Return the blocks of coordinates between rising widths, up to the full one."""
    return [(start, stop) for start, stop in pairwise((0, *dims, width)) if start < stop]


def _running_products(best: "torch.Tensor", blocks: Sequence[tuple[int, int]]) -> "list[torch.Tensor]":
    """Return the Gram matrices (batch, k, k) of the tokens cut behind each block, the last at full width."""
    found: list[torch.Tensor] = []
    for start, stop in blocks:
        block = best[:, :, start:stop]
        across = block.transpose(1, 2)
        found.append(torch.baddbmm(found[-1], block, across) if found else torch.bmm(block, across))
    return found


def _gathered(
    hidden: "torch.Tensor", order: "torch.Tensor", weights: "torch.Tensor"
) -> "tuple[torch.Tensor, torch.Tensor]":
    """Return the chosen tokens (batch, k, dim) less their mean, and where each stands among all tokens, (batch x k,).

    CKA does not see a common offset of the tokens, float32 does: it is taken out before the products.
    """
    rows, tokens, width = hidden.shape
    places = (order + torch.arange(rows, device=order.device).unsqueeze(1) * tokens).flatten()
    best = hidden.reshape(rows * tokens, width).index_select(0, places).view(rows, -1, width)
    share = weights / weights.sum(1, keepdim=True).clamp(min=1)
    best -= torch.bmm(share.unsqueeze(1), best)
    return best, places


def _center(grams: "torch.Tensor", weights: "torch.Tensor") -> None:
    """Center Gram matrices (2, batch, k, k) in place over the kept tokens (batch, k); zero elsewhere."""
    count = weights.sum(1).clamp(min=1)
    row_mean = (grams @ weights.unsqueeze(2)).squeeze(3) / count.unsqueeze(1)
    mean = (row_mean * weights).sum(2) / count
    grams -= row_mean.unsqueeze(3)
    grams -= (row_mean - mean.unsqueeze(2)).unsqueeze(2)
    grams *= weights.unsqueeze(2) * weights.unsqueeze(1)


class TopkCKA(Term):
    """Top-k CKA self-distillation between each prefix and the full width, at the chosen layers (SIA, second half)."""

    formula: ClassVar[str] = (
        "sum_l sum_i (1 - CKA(H_l[S_i, :d_i], H_l[S_i, :D])),  S_i = the k_i tokens with the largest q . h_j,  "
        "k_i = max(k_min, ceil(gamma_i m))"
    )
    source: ClassVar[str] = (
        "MIPIC Eq 7-12, arXiv 2604.24374; q is the backbone's own readout (the paper's is CLS). ranking 'own' and k_full are those of the "
        "lab's notebooks (duncan-nguyen/embedding-mrl, notebooks/MIPIC)"
    )

    layer_set: LayerRule | Layers = "default"
    reduction: Reduction = "sum"
    gammas: Literal["default"] | Share | tuple[Share, ...] = "default"  # one number: the same for every width
    k_min: Annotated[int, Field(ge=2)] = 8
    k_full: Annotated[int, Field(ge=2)] | None = None  # k_i = max(k_min, floor(k_full d_i / D)) in place of the gammas
    length: Literal["padded", "real"] = "padded"
    ranking: Literal["full", "own"] = "full"  # own: each width by its own scores, through maps that nothing trains
    special_tokens: bool = True
    detach: bool = False

    def resolved(self, nesting: Nesting) -> "TopkCKA":
        """See `Term.resolved`: layers and gammas as numbers."""
        count, gammas = len(nesting.truncated), self.gammas
        if gammas == "default":
            gammas = default_gammas(count)
        elif isinstance(gammas, float):
            gammas = (gammas,) * count
        if len(gammas) != count:
            what = f"{len(gammas)} gammas for {count} truncated widths {list(nesting.truncated)}"
            raise UserError("gammas", what, "give one gamma per truncated width, ascending, or one number for all")
        layers = chosen_layers("layer_set", self.layer_set, nesting)
        return super().resolved(nesting).model_copy(update={"layer_set": layers, "gammas": gammas})

    def layers(self, nesting: Nesting) -> tuple[int, ...]:
        """See `Term.layers`."""
        return chosen_layers("layer_set", self.layer_set, nesting)

    def heads(self, nesting: Nesting, generator: "torch.Generator") -> "torch.nn.Module | None":
        """With ranking "own": a projection to 64 dimensions, W_Q and W_K per layer and width, never trained."""
        if self.ranking == "full":
            return None
        maps = torch.nn.ModuleList()
        for _ in self.layers(nesting):
            for dim in nesting.truncated:
                sizes = ((dim, OWN_WIDTH), (OWN_WIDTH, OWN_WIDTH), (OWN_WIDTH, OWN_WIDTH))
                maps.append(torch.nn.ModuleList(linear(*size, generator, bias=True) for size in sizes))
        return maps.requires_grad_(False)

    def loss(self, states: "States", nesting: Nesting, heads: "torch.nn.Module | None") -> "torch.Tensor":
        """See `Term.loss`; every layer and row at once."""
        if not nesting.truncated:
            return states.mask.new_zeros((), dtype=torch.float32)
        layers = self.layers(nesting)
        with torch.autocast(states.mask.device.type, enabled=False):
            hidden = states.stacked(layers)
            order, counts, most = self._kept(states, nesting, heads)
            values = _one_minus_cka(hidden, order, counts, most, nesting.truncated, self.detach, 1e-8)
        per_row = values.sum() if self.reduction == "sum" else values.mean(0).sum() / len(layers)
        return per_row / len(states.mask)

    def _kept(
        self, states: "States", nesting: Nesting, heads: "torch.nn.Module | None"
    ) -> "tuple[torch.Tensor, torch.Tensor, list[int]]":
        """Return the tokens best first, how many each width keeps, and a bound on that; rows are layer x row."""
        assert isinstance(self.gammas, tuple)
        layers = self.layers(nesting)
        with torch.no_grad():
            hidden, queries = states.stacked(layers), states.queries(layers)
            if heads is None:
                scores = torch.bmm(hidden, queries.unsqueeze(2)).squeeze(2)
            else:
                scores = torch.bmm(hidden, _own_queries(queries, nesting, heads, len(layers))).permute(2, 0, 1)
            mask = states.mask.bool() if self.special_tokens else states.mask.bool() & ~states.special
            counts = None
            if self.k_full is not None:
                counts = [max(self.k_min, self.k_full * dim // nesting.shape.width) for dim in nesting.truncated]
            mask = mask.repeat(len(layers), 1)
            return best_first(scores, mask), *kept_counts(mask, self.gammas, self.k_min, self.length, counts)


def _own_queries(queries: "torch.Tensor", nesting: Nesting, heads: "torch.nn.Module", layers: int) -> "torch.Tensor":
    """Return, per width, the vector whose product with a prefix orders its tokens as W_Q P q . W_K P h does.

    P, W_Q and W_K have biases; those on the side of the tokens move every score of a text alike and are left out.

    Args:
        queries: (layer x row, dim).

    Returns:
        (layer x row, dim, width), zero beyond each width.
    """
    per_layer = []
    maps = iter(cast("Any", heads))
    for query in queries.chunk(layers):
        vectors = []
        for dim in nesting.truncated:
            project, to_query, to_key = next(maps)
            wanted = to_query(project(query[:, :dim])) @ to_key.weight @ project.weight
            vectors.append(torch.nn.functional.pad(wanted, (0, query.shape[1] - dim)))
        per_layer.append(torch.stack(vectors, 2))
    return torch.cat(per_layer)
