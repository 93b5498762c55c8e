"""What the tests of MIPIC's functions share: inputs, and the comparison of a fast function with a slow one."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

DIMS = (2, 3, 6, 8)
WIDTH = 8
TOKENS = 11
GAMMAS = (0.2, 0.4, 0.6, 0.9)
RAGGED = (11, 4, 7)  # real tokens of each text


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def mask_of(lengths: Sequence[int], tokens: int = TOKENS) -> Tensor:
    mask = torch.zeros(len(lengths), tokens, dtype=torch.long)
    for n, length in enumerate(lengths):
        mask[n, :length] = 1
    return mask


def lifts_of(dims: Sequence[int] = DIMS, seed: int = 7) -> list[Tensor]:
    return [normal(WIDTH, d, seed=seed + d) / d**0.5 for d in dims]


def leaf(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    return tensor.detach().clone().to(dtype).requires_grad_()


def compare(
    fast: Callable[..., Tensor], slow: Callable[..., Tensor], inputs: Sequence[Tensor], rtol: float, atol: float
) -> None:
    """Same values and same gradients, each output weighted differently so that no two errors cancel."""
    results = []
    for function, dtype in ((fast, torch.float32), (slow, torch.float64)):
        leaves = [leaf(x, dtype) for x in inputs]
        value = function(*leaves)
        weights = torch.linspace(1, 2, max(value.numel(), 1), dtype=value.dtype).reshape(value.shape)
        gradients = torch.autograd.grad((value * weights).sum(), leaves, allow_unused=True)
        results.append((value.detach().double(), [None if g is None else g.double() for g in gradients]))
    (got, got_gradients), (expected, expected_gradients) = results
    torch.testing.assert_close(got, expected, rtol=rtol, atol=atol)
    for ours, theirs in zip(got_gradients, expected_gradients, strict=True):
        zero = torch.zeros(())
        torch.testing.assert_close(
            *torch.broadcast_tensors(zero if ours is None else ours, zero if theirs is None else theirs),
            rtol=rtol,
            atol=atol,
            check_dtype=False,
        )
