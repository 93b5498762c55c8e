"""Batches for the tests of terms: hidden states made of given vectors, on a small shape, in float64."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from mipic_bench.objectives import Nesting, Term, terms
from mipic_bench.shapes import Shape
from mipic_bench.states import States

DEPTH, WIDTH = 4, 12
DIMS = (2, 3, 6, 12)
NESTING = Nesting(Shape(DEPTH, WIDTH), DIMS, 0.1)
TERMS = terms()  # imported here, before any test replaces one of their functions


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def columns(parts: int = 2, batch: int = 4, seed: int = 0) -> list[Tensor]:
    """Anchors, positives and, if 3, negatives, (batch, WIDTH) each, with a gradient."""
    return [normal(batch, WIDTH, seed=100 * seed + part).requires_grad_() for part in range(parts)]


def layers(parts: int = 2, batch: int = 4) -> dict[int, list[Tensor]]:
    """Columns of every hidden state, 0 (the embedding output) to DEPTH."""
    return {layer: columns(parts, batch, layer + 1) for layer in range(DEPTH + 1)}


def states(given: Mapping[int, Sequence[Tensor]], **more) -> States:
    """A batch whose texts have one token each, so that every pooling reads out the given vectors."""
    hidden = {layer: torch.cat(list(parts)).unsqueeze(1) for layer, parts in given.items()}
    rows = len(next(iter(hidden.values())))
    mask = torch.ones(rows, 1, dtype=torch.long)
    return States(hidden, mask, torch.zeros(rows, 1, dtype=torch.bool), "cls", len(next(iter(given.values()))), **more)


def token_states(parts: int = 2, batch: int = 3, tokens: int = 11, **more) -> States:
    """A batch of texts of unequal length; the first and last real token are special."""
    rows = parts * batch
    mask = torch.zeros(rows, tokens, dtype=torch.long)
    special = torch.zeros(rows, tokens, dtype=torch.bool)
    for row in range(rows):
        length = tokens - (3 * row) % (tokens - 3)
        mask[row, :length] = 1
        special[row, [0, length - 1]] = True
    hidden = {layer: normal(rows, tokens, WIDTH, seed=layer).requires_grad_() for layer in range(DEPTH + 1)}
    return States(hidden, mask, special, "mean", parts, **more)


def term(name: str, nesting: Nesting = NESTING, **settings) -> Term:
    """A term as a recipe resolves it."""
    return TERMS[name](**settings).resolved(nesting)


def heads(of: Term, nesting: Nesting = NESTING):
    """The term's heads in float64."""
    made = of.heads(nesting, torch.Generator().manual_seed(0))
    return None if made is None else made.double()


def agree(ours: Tensor, loop: Tensor, given: Sequence[Tensor], **tolerance: float) -> None:
    """Same value, and the same gradient at every given tensor."""
    torch.testing.assert_close(ours, loop, **tolerance)
    found = torch.autograd.grad(ours, given, allow_unused=True, retain_graph=True)
    expected = torch.autograd.grad(loop, given, allow_unused=True, retain_graph=True)
    for one, other, tensor in zip(found, expected, given, strict=True):
        zero = torch.zeros_like(tensor)
        torch.testing.assert_close(zero if one is None else one, zero if other is None else other, **tolerance)
    assert any(gradient is not None and gradient.abs().max() > 1e-6 for gradient in expected), "nothing was compared"
