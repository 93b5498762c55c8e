"""The shape of a backbone, and the rules that derive widths, layers, gammas and chain from it.

Legend of the shape comments used in this project:
    row    texts of one forward pass        token  positions of a text
    batch  examples (row = views x batch)   dim    embedding width
    layer  transformer blocks 1..N          k      tokens kept by top-k
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil

from mipic_bench.errors import UserError, raise_all

GAMMAS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7)  # MIPIC App. A.5: kept share of tokens per truncated width, ascending


@dataclass(frozen=True)
class Shape:
    """Depth (number of transformer blocks, N) and width (hidden size, D) of a backbone."""

    depth: int
    width: int


def require(
    shape: Shape,
    backbone: str,
    layers: Iterable[int] = (),
    dims: Iterable[int] = (),
    options: tuple[str, str] = ("--layers", "--dims"),
) -> None:
    """Refuse layers and dims that a backbone does not have, both at once; `options` are where they were asked for.

    Raises:
        UserError: one is below 1 or above the depth or the width; the largest such one is named.
    """
    problems = []
    asked = ((options[0], "layer", layers, shape.depth), (options[1], "dim", dims, shape.width))
    for option, noun, values, most in asked:
        if wrong := [value for value in values if not 1 <= value <= most]:
            what = f"{noun} {max(wrong)} is not within 1..{most} of backbone {backbone}"
            problems.append(UserError(option, what, f"ask for {noun}s of 1..{most}"))
    raise_all(problems)


def default_dims(width: int) -> tuple[int, ...]:
    """Return the six largest powers of two below the width, then the width itself.

    At 768 and 1024 these are the width sets of the MIPIC paper (App. A.4).
    """
    powers = [2**exponent for exponent in range(1, width.bit_length()) if 2**exponent < width]
    return (*powers[-6:], width)


def spread_layers(depth: int, most: int = 7) -> tuple[int, ...]:
    """Return all layers when there are at most `most`, else `most` of them spread evenly up to the last."""
    count = min(depth, most)
    return tuple(ceil(depth * (position + 1) / count) for position in range(count))


def default_chain(depth: int, dims: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """Return PIC's checkpoints (dim, layer): the widest widths against layers spread to the last."""
    count = min(len(dims), depth)
    return tuple(zip(dims[-count:], spread_layers(depth, count), strict=True))


def default_gammas(truncated: int) -> tuple[float, ...]:
    """Return one gamma per truncated width in ascending order: the paper's six, spread evenly when another number is asked."""
    if truncated <= 1:
        return GAMMAS[:truncated]
    step = (GAMMAS[-1] - GAMMAS[0]) / (truncated - 1)
    return tuple(round(GAMMAS[0] + step * position, 4) for position in range(truncated))


def served(trained: Sequence[int], asked: Sequence[int]) -> dict[int, tuple[int, ...]]:
    """Return the asked widths that each trained width serves: its own and those down to the next narrower one.

    A width that was not trained is cut from the next wider one, and one above all is read off the widest.
    """
    lots: dict[int, list[int]] = {}
    for dim in asked:
        wider = [width for width in trained if width >= dim]
        lots.setdefault(min(wider) if wider else max(trained), []).append(dim)
    return {width: tuple(sorted(dims)) for width, dims in sorted(lots.items())}
