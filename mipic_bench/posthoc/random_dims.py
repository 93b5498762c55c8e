"""Random coordinates: what any choice of so many coordinates keeps."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mipic_bench.posthoc._transform import Fitted, Transform


@dataclass(frozen=True, eq=False)
class Reordered(Fitted):
    """Coordinates in another order.

    Args:
        order: (D,) int64.
    """

    order: np.ndarray

    def apply(self, vectors: np.ndarray) -> np.ndarray:
        """See `Fitted.apply`."""
        return np.ascontiguousarray(vectors[:, self.order])

    def arrays(self) -> dict[str, np.ndarray]:
        """See `Fitted.arrays`."""
        return {"order": self.order}


class RandomDims(Transform):
    """The coordinates in random order: its prefixes are random subsets. Nothing is fitted."""

    formula: ClassVar[str] = "x[p],  p a random permutation"
    source: ClassVar[str] = "control"
    fitted: ClassVar[type[Fitted]] = Reordered
    version: ClassVar[int] = 2

    def fit(self, vectors: np.ndarray, dims: Sequence[int], seed: int) -> Reordered:
        """See `Transform.fit`."""
        return Reordered(np.random.default_rng(seed).permutation(vectors.shape[1]))
