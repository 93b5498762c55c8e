"""How vectors are stored, and what they read back as.

Every precision maps raw coordinates one by one, so it commutes with the cut: quantize once, score every dim.

    float32   as they are
    int8      256 equal steps between two limits per coordinate; what lies outside is clipped to the limits.
              Read back as the middle of the step, so that cosines are those of the original space
    binary    the sign of each coordinate, read back as -1 or +1 (zero counts as -1): the dot product of two such
              vectors is dim - 2 x Hamming distance. What is no finite number has no sign and stays NaN
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from mipic_bench.evaluators._cosine import Rows, Vectors

if TYPE_CHECKING:
    import pandas as pd

    from mipic_bench.encoding.embed import Embeddings
    from mipic_bench.tasks import Fold

CALIBRATION_TEXTS = 2000  # texts that int8 ranges are taken from, at most


def calibration_texts(fold: "Fold") -> list[str]:
    """Return the texts that int8 ranges come from: never one that is scored.

    The first of these that has any text: the fit rows, the tune rows, the splits that are not scored; a sample of
    `CALIBRATION_TEXTS`, evenly spaced over the distinct texts in their order.
    """
    scored = set(frame_texts(fold.score))
    others = [rows for name, rows in fold.data.splits.items() if name != fold.split]
    for frames in ([fold.fit], [fold.tune], others):
        found = [text for frame in frames if frame is not None for text in frame_texts(frame)]
        usable = [text for text in dict.fromkeys(found) if text not in scored]
        if usable:
            step = max(1, -(-len(usable) // CALIBRATION_TEXTS))
            return usable[::step]
    return []


def frame_texts(frame: "pd.DataFrame") -> Iterator[str]:
    """Yield every text of a frame of pairs or single texts."""
    for column in ("text", "sentence1", "sentence2"):
        if column in frame:
            yield from frame[column]


def read_back(vectors: Vectors, precision: str, sample: Vectors | None = None) -> Vectors:
    """Store raw vectors (text, dim) at a precision and read them back.

    Args:
        vectors: (text, dim) float32, not normalized.
        precision: float32, int8 or binary.
        sample: (text, dim) float32, the vectors that int8 takes its limits from.

    Returns:
        (text, dim) float32.
    """
    if precision == "float32":
        return vectors
    if precision == "binary":
        signs = np.where(vectors > 0, np.float32(1), np.float32(-1))
        return np.where(np.isfinite(vectors), signs, np.float32(np.nan))
    if sample is None:
        raise ValueError("int8 needs a sample to take its limits from")
    low, high = sample.min(axis=0), sample.max(axis=0)
    step = (high - low) / np.float32(255)
    codes = np.rint((vectors - low) / np.where(step > 0, step, np.float32(1)))
    back: Vectors = (low + np.clip(codes, 0, 255) * step).astype(np.float32)
    return back


def stored(
    embeddings: "Embeddings",
    layers: Sequence[int],
    width: int,
    precisions: Sequence[str],
    rows: Rows,
    sample_rows: Rows | None,
) -> Iterator[tuple[int, str, Vectors]]:
    """Yield (layer, precision, vectors of `rows` as read back, cut to `width`), layers outermost."""
    for layer in layers:
        table = embeddings.at(layer)[:, :width]
        vectors = np.ascontiguousarray(table[rows])
        sample = table[sample_rows] if sample_rows is not None else None
        for precision in precisions:
            yield layer, precision, read_back(vectors, precision, sample)
