"""How many floating-point operations a batch needs, and how fast the machine multiplies matrices of those very shapes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Any

import torch


@dataclass(frozen=True)
class Sizes:
    """The sizes of a transformer encoder that its matrix products follow from."""

    depth: int
    width: int
    inner: int
    heads: int


def sizes_of(config: Any) -> Sizes:
    """Read the sizes from a configuration of transformers."""
    return Sizes(config.num_hidden_layers, config.hidden_size, config.intermediate_size, config.num_attention_heads)


def operations(sizes: Sizes, lengths: Sequence[int]) -> float:
    """Return the operations of one forward over texts of these lengths: linear maps and attention, two per multiply and add."""
    linear = sum(lengths) * (4 * sizes.width**2 + 2 * sizes.width * sizes.inner)
    attention = 2 * sum(length**2 for length in lengths) * sizes.width
    return 2.0 * sizes.depth * (linear + attention)


def best_square(dtype: torch.dtype, device: str, sizes: Sequence[int]) -> tuple[float, int]:
    """Return the best rate of a square matrix product in operations per second, and its size."""
    return max((_rate(_square(size, dtype, device), 2 * size**3, device), size) for size in sizes)


def own_rate(sizes: Sizes, rows: int, tokens: int, dtype: torch.dtype, device: str, *, backward: bool) -> float:
    """Return the rate at which the products of one block run, nothing between them, in operations per second.

    Args:
        sizes: of the model.
        rows, tokens: of the batch.
        dtype, device: of the products.
        backward: count the two products of each product's gradient too.
    """
    work, count = _products(sizes, rows, tokens, dtype, device, backward)
    return _rate(work, count, device)


def _square(size: int, dtype: torch.dtype, device: str) -> Callable[[], None]:
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    out = torch.empty_like(a)

    def work() -> None:
        torch.mm(a, b, out=out)

    return work


def _products(
    sizes: Sizes, rows: int, tokens: int, dtype: torch.dtype, device: str, backward: bool
) -> tuple[Callable[[], None], float]:
    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, device=device).to(dtype)

    width, inner, heads, long = sizes.width, sizes.inner, sizes.heads, rows * tokens
    pairs = [(random(long, a), random(b, a)) for a, b in [(width, width)] * 4 + [(width, inner), (inner, width)]]
    shape = (rows * heads, tokens, width // heads)
    query, key, value, share = random(*shape), random(*shape), random(*shape), random(rows * heads, tokens, tokens)

    def work() -> None:
        for x, weight in pairs:
            y = torch.nn.functional.linear(x, weight)
            if backward:
                torch.mm(y, weight)
                torch.mm(y.t(), x)
        products = [(query, key.transpose(1, 2)), (share, value)]
        if backward:  # of the scores: to query and key; of the result: to shares and values
            products += [(share, key), (share.transpose(1, 2), query), (query, value.transpose(1, 2))]
            products += [(share.transpose(1, 2), query)]
        for a, b in products:
            torch.bmm(a, b)

    one = Sizes(1, width, inner, heads)
    return work, operations(one, [tokens] * rows) * (3 if backward else 1)


def _rate(work: Callable[[], None], count: float, device: str, turns: int = 5) -> float:
    def timed(repeat: int) -> float:
        _wait(device)
        start = perf_counter()
        for _ in range(repeat):
            work()
        _wait(device)
        return (perf_counter() - start) / repeat

    timed(1)
    repeat = max(1, min(1000, int(0.1 / max(timed(1), 1e-6))))
    return count / median(timed(repeat) for _ in range(turns))


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()
