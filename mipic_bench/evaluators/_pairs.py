"""Cosines of a task's text pairs at every budget: what sts and pair share."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from mipic_bench.evaluators._cosine import Floats, prefix_cosines
from mipic_bench.evaluators._emit import without_uncalibrated
from mipic_bench.evaluators._precision import stored

if TYPE_CHECKING:
    import pandas as pd

    from mipic_bench.encoding.embed import Embeddings
    from mipic_bench.tasks import Fold


def pair_cosines(
    fold: "Fold",
    frames: Sequence["pd.DataFrame"],
    embeddings: "Embeddings",
    layers: Sequence[int],
    dims: Sequence[int],
    precisions: list[str],
) -> Iterator[tuple[int, str, list[Floats]]]:
    """Yield (layer, precision, cosines (len(dims), pair) of each frame), layers outermost."""
    precisions, sample_rows = without_uncalibrated(fold, embeddings, precisions)
    columns = [np.asarray(embeddings.rows(frame[name])) for frame in frames for name in ("sentence1", "sentence2")]
    rows, places = np.unique(np.concatenate(columns), return_inverse=True)
    ends = np.cumsum([len(column) for column in columns])
    sides = np.split(places, ends[:-1])
    for layer, precision, vectors in stored(embeddings, layers, dims[-1], precisions, rows, sample_rows):
        cosines = [
            prefix_cosines(vectors, left, right, dims) for left, right in zip(sides[::2], sides[1::2], strict=True)
        ]
        yield layer, precision, cosines
