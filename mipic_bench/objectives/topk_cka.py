"""SIA, second half: a prefix must hold the same token geometry as the full width, on the tokens that matter."""

from collections.abc import Sequence
from math import ceil
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

from mipic_bench.errors import UserError
from mipic_bench.objectives._term import LayerTerm, Nesting, Reduction, check_dims, linear, over_layers, wide
from mipic_bench.registry import lazy
from mipic_bench.settings import Several, Share
from mipic_bench.shapes import default_gammas

if TYPE_CHECKING:
    import torch

    from mipic_bench.states import States
else:
    torch = lazy("torch")

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
        dims: rising widths of the prefixes, none above dim. gammas: share of tokens kept, one per width.
        k_min: least number of tokens kept.
        length: m is the padded length of the batch ("padded", as recorded) or the example's own number of tokens ("real").
        detach: whether the Gram matrix of the full width is a constant.
        eps: added to the denominator.

    Returns:
        (len(dims),) one value per prefix, mean over the batch; in float32 (float64 for float64 input).

    Raises:
        ValueError: the dims do not rise, or one is above dim.
    """
    check_dims(dims, hidden.shape[2])
    with torch.autocast(hidden.device.type, enabled=False):
        hidden = wide(hidden)
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
    from mipic_bench.objectives._alignment import Alignment  # needs torch to be there

    alignment: torch.Tensor = Alignment.apply(hidden, order, counts, most, dims, detach, eps)  # type: ignore[no-untyped-call]
    return 1 - alignment


class TopkCKA(LayerTerm):
    """Top-k CKA self-distillation between each prefix and the full width, at the chosen layers (SIA, second half)."""

    version: ClassVar[int] = 2  # 2: the heads' start differs from seed to seed
    reads_temperature: ClassVar[bool] = False

    formula: ClassVar[str] = (
        "sum_l sum_i (1 - CKA(H_l[S_i, :d_i], H_l[S_i, :D])),  S_i = the k_i tokens with the largest q . h_j,  "
        "k_i = max(k_min, ceil(gamma_i m))"
    )
    source: ClassVar[str] = (
        "MIPIC Eq 7-12, arXiv 2604.24374; q is the backbone's own readout (the paper's is CLS). ranking 'own' and k_full are those of the "
        "lab's notebooks (duncan-nguyen/embedding-mrl, notebooks/MIPIC)"
    )

    reduction: Reduction = "sum"
    gammas: Literal["default"] | Share | tuple[Share, ...] = "default"  # one number: the same for every width
    k_min: Several = 8
    k_full: Several | None = None  # k_i = max(k_min, floor(k_full d_i / D)) in place of the gammas
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
        return super().resolved(nesting).model_copy(update={"gammas": gammas})

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
        return over_layers(values, self.reduction, len(layers), len(states.mask))

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
