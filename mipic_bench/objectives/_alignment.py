"""The centred alignment <K, L> / (|K| |L| + eps) of nested token sets as one operation with its own gradient.

The best tokens of each example are brought together once, best first. The Gram matrix of a prefix is the running sum of the
products of its blocks of coordinates, so that no coordinate is multiplied twice, and every width works on the leading
corner of it, k_i by k_i tokens; backwards the same. Written out, autograd makes a full-size gradient of every slice.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor


class Alignment(torch.autograd.Function):
    """The alignment of each width and example, (width, batch), of hidden states (batch, token, dim); see `topk_cka`."""

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


def _edges(dims: Sequence[int], width: int) -> list[tuple[int, int]]:
    """Return the blocks of coordinates between rising widths, up to the full one."""
    return [(start, stop) for start, stop in pairwise((0, *dims, width)) if start < stop]


def _running_products(best: Tensor, blocks: Sequence[tuple[int, int]]) -> list[Tensor]:
    """Return the Gram matrices (batch, k, k) of the tokens cut behind each block, the last at full width."""
    found: list[Tensor] = []
    for start, stop in blocks:
        block = best[:, :, start:stop]
        across = block.transpose(1, 2)
        found.append(torch.baddbmm(found[-1], block, across) if found else torch.bmm(block, across))
    return found


def _gathered(hidden: Tensor, order: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return the chosen tokens (batch, k, dim) less their mean, and where each stands among all tokens, (batch x k,).

    CKA does not see a common offset of the tokens, float32 does: it is taken out before the products.
    """
    rows, tokens, width = hidden.shape
    places = (order + torch.arange(rows, device=order.device).unsqueeze(1) * tokens).flatten()
    best = hidden.reshape(rows * tokens, width).index_select(0, places).view(rows, -1, width)
    share = weights / weights.sum(1, keepdim=True).clamp(min=1)
    best -= torch.bmm(share.unsqueeze(1), best)
    return best, places


def _center(grams: Tensor, weights: Tensor) -> None:
    """Center Gram matrices (2, batch, k, k) in place over the kept tokens (batch, k); zero elsewhere."""
    count = weights.sum(1).clamp(min=1)
    row_mean = (grams @ weights.unsqueeze(2)).squeeze(3) / count.unsqueeze(1)
    mean = (row_mean * weights).sum(2) / count
    grams -= row_mean.unsqueeze(3)
    grams -= (row_mean - mean.unsqueeze(2)).unsqueeze(2)
    grams *= weights.unsqueeze(2) * weights.unsqueeze(1)
