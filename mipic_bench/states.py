"""What objectives see of a batch: the hidden states of one forward, never the model. Shapes: see `shapes`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch


def pool(hidden: torch.Tensor, mask: torch.Tensor, pooling: str) -> torch.Tensor:
    """Read one vector per text out of its token states.

    Args:
        hidden: (row, token, dim) token states.
        mask: (row, token), 1 on real tokens; padding may stand on either side.
        pooling: "cls" (first real token), "mean" (over real tokens) or "last" (last real token).

    Returns:
        (row, dim) in the dtype of `hidden`; means are summed in float32.
    """
    if pooling == "mean":
        weights = mask.to(torch.float32) / mask.sum(dim=1, keepdim=True).clamp(min=1)
        with torch.autocast(hidden.device.type, enabled=False):
            return torch.bmm(weights.unsqueeze(1), hidden.float()).squeeze(1).to(hidden.dtype)
    first = mask.to(torch.int8).argmax(dim=1)
    position = first if pooling == "cls" else first + mask.sum(dim=1).long() - 1
    return hidden[torch.arange(len(hidden), device=hidden.device), position]


@dataclass(frozen=True)
class States:
    """Hidden states of one forward over rows = parts x batch (anchors, then positives, then negatives).

    Args:
        hidden: layer (1..N; 0 is the embedding output) -> (row, token, dim).
        mask: (row, token), 1 on real tokens.
        special: (row, token), True on the tokenizer's special tokens.
        pooling: how a text's vector is read out, the same at every layer.
        parts: how many columns of the corpus the rows hold: 2 (two views, or pairs) or 3 (with hard negatives).
        same: (batch, batch), True where two examples hold an equal text, so one is no negative of the other.
        scores: (batch,) gold similarities of scored pairs, else None.
        draw: seed of what terms draw at random in this step.
        teacher: (row, dim) last-layer read-outs of the same texts by the backbone as it was before training, when a term needs them.
    """

    hidden: Mapping[int, torch.Tensor]
    mask: torch.Tensor
    special: torch.Tensor
    pooling: str
    parts: int
    same: torch.Tensor | None = None
    scores: torch.Tensor | None = None
    draw: int = 0
    teacher: torch.Tensor | None = None
    _cache: dict[object, torch.Tensor] = field(default_factory=dict, repr=False, compare=False)

    def embedding(self, layer: int) -> torch.Tensor:
        """Return the read-out vectors of a layer, (row, dim)."""
        key = ("embedding", layer)
        if key not in self._cache:
            self._cache[key] = pool(self.hidden[layer], self.mask, self.pooling)
        return self._cache[key]

    def cut(self, layer: int, dim: int) -> torch.Tensor:
        """Return the first `dim` coordinates of a layer's read-out, (row, dim)."""
        return self.embedding(layer)[:, :dim]

    def generator(self) -> torch.Generator:
        """Return a fresh generator for what a term draws in this step (on the CPU)."""
        return torch.Generator().manual_seed(self.draw)

    def split(self, rows: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Split (row, ...) into the parts of the corpus: anchors, positives and, if any, negatives, (batch, ...) each."""
        return rows.chunk(self.parts)

    def stacked(self, layers: Sequence[int]) -> torch.Tensor:
        """Return the token states of several layers as one tensor, (layer x row, token, dim): a few large operations
        instead of many small ones. Kept, so that the terms of a recipe share it.
        """
        key = ("stacked", tuple(layers))
        if key not in self._cache:
            self._cache[key] = torch.cat([self.hidden[layer] for layer in layers]).float()
        return self._cache[key]

    def queries(self, layers: Sequence[int]) -> torch.Tensor:
        """Return the read-outs of several layers, (layer x row, dim), in float32."""
        key = ("queries", tuple(layers))
        if key not in self._cache:
            self._cache[key] = torch.cat([self.embedding(layer) for layer in layers]).float()
        return self._cache[key]
