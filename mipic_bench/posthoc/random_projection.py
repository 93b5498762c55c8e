"""A random basis: what any rotation gives a prefix."""

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np

from mipic_bench.posthoc._transform import Fitted, LinearMap, Transform


class RandomProjection(Transform):
    """Random rotation (or Gaussian map): its prefixes are random projections. Nothing is fitted."""

    formula: ClassVar[str] = "x Q,  Q a random orthogonal matrix (Haar)"
    source: ClassVar[str] = "Johnson and Lindenstrauss 1984"
    fitted: ClassVar[type[Fitted]] = LinearMap
    version: ClassVar[int] = 2

    kind: Literal["orthogonal", "gaussian"] = "orthogonal"

    def fit(self, vectors: np.ndarray, dims: Sequence[int], seed: int) -> LinearMap:
        """See `Transform.fit`."""
        width = vectors.shape[1]
        matrix = np.random.default_rng(seed).standard_normal((width, width))
        if self.kind == "orthogonal":
            basis, upper = np.linalg.qr(matrix)
            matrix = basis * np.sign(np.diag(upper))
        else:
            matrix /= width**0.5
        return LinearMap(np.zeros(width, np.float32), matrix.astype(np.float32))
