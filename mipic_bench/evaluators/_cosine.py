"""Cosines and unit vectors of prefixes."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Vectors = NDArray[np.float32]
Rows = NDArray[np.int64]

_CHUNK = 2048  # pairs at a time: three float64 products of this many rows stay in the cache


def prefix_cosines(vectors: Vectors, left: Rows, right: Rows, dims: Sequence[int]) -> Floats:
    """Compute the cosine of every pair at every prefix in one pass.

    The products are summed per block between neighboring dims and then cumulated, in float64: equal vectors have
    cosine exactly 1, so that ties stay ties.

    Args:
        vectors: (text, dim) float32.
        left: (pair,) rows of the first texts.
        right: (pair,) rows of the second texts.
        dims: ascending widths.

    Returns:
        (len(dims), pair) float64; nan where a prefix is the zero vector or holds a value that is not finite.
    """
    starts = [0, *dims[:-1]]
    cosines = np.empty((len(dims), len(left)))
    for begin in range(0, len(left), _CHUNK):
        chunk = slice(begin, begin + _CHUNK)
        a = vectors[left[chunk], : dims[-1]].astype(np.float64)
        b = vectors[right[chunk], : dims[-1]].astype(np.float64)
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            dots, norms_a, norms_b = (
                np.add.reduceat(product, starts, axis=1).cumsum(axis=1) for product in (a * b, a * a, b * b)
            )
            cosines[:, chunk] = (dots / np.sqrt(norms_a * norms_b)).T
    np.clip(cosines, -1.0, 1.0, out=cosines)
    return cosines


def unit_prefix(vectors: Vectors, dim: int) -> Vectors:
    """Cut vectors (text, dim) to a width and scale them to unit length; nan where the prefix is the zero vector."""
    cut = vectors[:, :dim]
    norms = np.sqrt(np.einsum("td,td->t", cut, cut, dtype=np.float64))
    with np.errstate(invalid="ignore", divide="ignore"):
        unit: Vectors = (cut / norms[:, None]).astype(np.float32)
    return unit
