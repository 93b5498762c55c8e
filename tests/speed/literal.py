"""SIA as the formulas stand: one example, layer and width at a time, in double precision, with D x D matrices.

Matrix products are left to the library, unlike in `tests/oracle/loops.py`: it is what one would write first, not a caricature.
"""

from collections.abc import Mapping
from math import ceil, sqrt
from typing import Any

import torch
from torch import Tensor

from mipic_bench.objectives import Term
from mipic_bench.recipes.resolved import Resolved
from mipic_bench.states import States


def sia(recipe: Resolved, states: States, heads: Mapping[str, Any]) -> Tensor:
    """Return the sum over layers and widths of the attention divergence and of 1 - CKA, mean over the rows."""
    attention: Any = recipe.terms["attention"]
    cka: Any = recipe.terms["cka"]
    total = torch.zeros((), dtype=torch.float64)
    dims = recipe.nesting.truncated
    for place, layer in enumerate(layers_of(attention, recipe)):
        lifts = heads["attention"]["lifts"][place].double().split(list(dims), dim=1)
        for row, mask in zip(states.hidden[layer].double(), states.mask.bool(), strict=True):
            tokens = row[mask]
            query = readout(tokens, states.pooling)
            for dim, lift, gamma in zip(dims, lifts, cka.gammas, strict=True):
                total = total + divergence(tokens, query, dim, lift, attention.temperature, attention.eps)
                k = max(cka.k_min, ceil(round(gamma * len(row), 9)))
                total = total + one_minus_cka(top(tokens, query, k), dim)
    return total / len(states.mask)


def layers_of(term: Term, recipe: Resolved) -> tuple[int, ...]:
    """Return the layers that a term works on."""
    return term.layers(recipe.nesting)


def readout(tokens: Tensor, pooling: str) -> Tensor:
    """Return the vector of one text from its tokens (token, dim)."""
    return tokens.mean(0) if pooling == "mean" else tokens[0 if pooling == "cls" else -1]


def divergence(tokens: Tensor, query: Tensor, dim: int, lift: Tensor, temperature: float, eps: float) -> Tensor:
    """Return KL(a_i || a_D), each prefix token lifted to full width first."""
    scale = sqrt(len(query)) * temperature
    lifted = tokens[:, :dim] @ lift.T
    prefix, full = (torch.softmax(states @ query / scale, 0) + eps for states in (lifted, tokens))
    return (prefix * (prefix.log() - full.log())).sum()


def top(tokens: Tensor, query: Tensor, k: int) -> Tensor:
    """Return the k tokens with the largest product with the query."""
    best = (tokens @ query).detach().argsort(descending=True, stable=True)[:k]
    return tokens[best]


def one_minus_cka(tokens: Tensor, dim: int) -> Tensor:
    """Return 1 - |X^T Y|^2 / (|X^T X| |Y^T Y|) with centred X, the prefix, and Y, the full width."""
    whole = tokens - tokens.mean(0)
    prefix = whole[:, :dim]
    inner, own, other = (a.T @ b for a, b in ((prefix, whole), (prefix, prefix), (whole, whole)))
    return 1 - inner.square().sum() / (own.norm() * other.norm() + 1e-8)
