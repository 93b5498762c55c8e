"""Encode every unique text once; every (layer, dim) budget is a view of the result."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from mipic_bench.backbones import Backbone
from mipic_bench.encoding.vectors import Kept, allocate
from mipic_bench.states import pool

# bounds the memory of a forward whatever the texts' lengths: a processor is fastest where activations stay in its cache
TOKENS_PER_BATCH = {"cpu": 2048, "cuda": 32768}


@dataclass(frozen=True)
class Embeddings:
    """Every unique text of a run at several layers, read out but not normalized.

    Args:
        index: text -> row.
        arrays: layer -> (text, dim) float32.
    """

    index: Mapping[str, int]
    arrays: Mapping[int, np.ndarray]

    @classmethod
    def from_arrays(cls, texts: Sequence[str], arrays: Mapping[int, np.ndarray]) -> "Embeddings":
        """Wrap arrays whose rows are the given texts."""
        return cls({text: row for row, text in enumerate(texts)}, arrays)

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers that were read out, ascending."""
        return tuple(sorted(self.arrays))

    @property
    def width(self) -> int:
        """The full embedding width."""
        return int(next(iter(self.arrays.values())).shape[1])

    def cut(self, width: int) -> "Embeddings":
        """Return the same with vectors of their first coordinates; views, no copies."""
        return Embeddings(self.index, {layer: array[:, :width] for layer, array in self.arrays.items()})

    def rows(self, texts: Sequence[str]) -> np.ndarray:
        """Return the row of each text, int64 (len(texts),)."""
        return np.fromiter((self.index[text] for text in texts), dtype=np.int64, count=len(texts))

    def at(self, layer: int) -> np.ndarray:
        """Return the vectors of a layer, (text, dim) float32: the array itself, not to be written to."""
        return self.arrays[layer]


def encode(
    backbone: Backbone,
    texts: Iterable[str],
    layers: Sequence[int],
    *,
    max_length: int,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
    on_batch: Callable[[int, int], None] | None = None,
    kept: Kept | None = None,
) -> Embeddings:
    """Encode unique texts in one pass, shortest first, and keep each wanted layer.

    Args:
        backbone: in evaluation mode, on `device`.
        texts: repeats are encoded once.
        layers: 1..depth.
        max_length: tokens kept of a text.
        device: where the forward runs.
        dtype: arithmetic of the forward (float32, or bfloat16 / float16 through autocast); the result is float32.
        on_batch: called with (texts done, texts in all).
        kept: vectors of this model read out in this way; texts found there are not encoded, the others are put there.
            A text's vector depends in its last digits on the texts it shares a batch with.
    """
    unique = list(dict.fromkeys(texts))
    arrays = allocate(layers, (len(unique), backbone.shape.width))
    new = np.flatnonzero(kept.fill(unique, arrays)) if kept else np.arange(len(unique))
    ids = backbone.tokenize([unique[row] for row in new], max_length) if len(new) else []
    done = len(unique) - len(new)
    with torch.inference_mode(), torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32):
        for places in _batches([len(row) for row in ids], TOKENS_PER_BATCH.get(device.type, 4096)):
            input_ids, mask = _padded([ids[place] for place in places], backbone.pad_id)
            hidden = backbone.hidden(input_ids.to(device), mask.to(device), layers)
            for layer in layers:
                arrays[layer][new[places]] = (
                    pool(hidden[layer], mask.to(device), backbone.readout.pooling).float().cpu().numpy()
                )
            done += len(places)
            if on_batch is not None:
                on_batch(done, len(unique))
    if kept:
        kept.add(unique, new, arrays)
    return Embeddings.from_arrays(unique, arrays)


def _batches(lengths: Sequence[int], most: int) -> Iterator[np.ndarray]:
    """Yield rows of similar length, as many as have no more than so many tokens with their padding."""
    order = np.argsort(np.asarray(lengths), kind="stable")
    start = 0
    while start < len(order):
        stop = start + 1
        while stop < len(order) and lengths[order[stop]] * (stop + 1 - start) <= most:
            stop += 1
        yield order[start:stop]
        start = stop


def _padded(rows: Sequence[Sequence[int]], pad_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pad token ids on the right: (row, token) ids and mask."""
    longest = max(len(row) for row in rows)
    ids = torch.full((len(rows), longest), pad_id, dtype=torch.long)
    mask = torch.zeros((len(rows), longest), dtype=torch.long)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = torch.tensor(row, dtype=torch.long)
        mask[place, : len(row)] = 1
    return ids, mask
