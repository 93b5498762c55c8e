"""Principal components: the directions of largest variance first."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from mipic_bench.errors import UserError
from mipic_bench.posthoc._transform import Fitted, LinearMap, Transform, finite


class PCA(Transform):
    """Rotation onto the principal components of the training vectors, largest variance first."""

    formula: ClassVar[str] = (
        "(x - mean) V,  V the eigenvectors of the training vectors' covariance by falling eigenvalue"
    )
    source: ClassVar[str] = "Pearson 1901; whiten: BERT-whitening, arXiv 2103.15316"
    fitted: ClassVar[type[Fitted]] = LinearMap
    random: ClassVar[bool] = False

    center: bool = True  # false: eigenvectors of the second moment, so that full-width similarities stay what they were
    whiten: bool = False  # every component to variance 1

    def fit(self, vectors: np.ndarray, dims: Sequence[int], seed: int) -> LinearMap:
        """See `Transform.fit`; float64 inside, each component's largest loading positive.

        Raises:
            UserError: vectors that are not finite; whitening with no more texts than coordinates: directions that no text told
                apart would be blown up.
        """
        if self.whiten and len(vectors) <= vectors.shape[1]:
            what = f"whitening {vectors.shape[1]} coordinates needs more training texts than that, {len(vectors)} were given"
            raise UserError("posthoc.whiten", what, "train on a larger corpus, or leave whitening out")
        data = finite(vectors).astype(np.float64)
        mean = data.mean(0) if self.center else np.zeros(data.shape[1])
        data -= mean
        variances, components = np.linalg.eigh(data.T @ data / len(data))
        variances, components = variances[::-1], components[:, ::-1]
        largest = np.abs(components).argmax(0)
        components = components * np.sign(components[largest, np.arange(len(largest))])
        if self.whiten:
            # a coordinate that is always the same stays small
            components = components / np.sqrt(np.maximum(variances, 1e-6 * variances[0]))
        return LinearMap(mean.astype(np.float32), components.astype(np.float32))
