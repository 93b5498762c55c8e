"""What one training step reads: the corpus, tokenized once, as shuffled batches of similar length."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from mipic_bench.backbones import Backbone
from mipic_bench.corpora import Corpus
from mipic_bench.recipes.schema import Training

BUCKET = 32  # batches whose examples are sorted by length together, so that little is padding


@dataclass(frozen=True)
class Batch:
    """Token ids of one step: rows = parts x batch, padded on the right."""

    input_ids: torch.Tensor
    mask: torch.Tensor
    special: torch.Tensor
    parts: int
    same: torch.Tensor
    scores: torch.Tensor | None
    draw: int
    teacher: torch.Tensor | None = None


class Batches:
    """The corpus, tokenized once, as length-bucketed shuffled batches; the order is decided by the seed and the epoch."""

    def __init__(self, backbone: Backbone, corpus: Corpus, training: Training, seed: int) -> None:
        columns = [list(corpus.columns[name]) for name in ("anchor", "positive", "negative") if name in corpus.columns]
        unique = {
            text: place for place, text in enumerate(dict.fromkeys(text for column in columns for text in column))
        }
        self.texts = list(unique)
        self.teacher: torch.Tensor | None = None  # (text, dim), where a term needs it
        ids = backbone.tokenize(self.texts, training.max_length)
        self.tokens = [torch.tensor(row, dtype=torch.long) for row in ids]
        rows = [torch.tensor([unique[text] for text in column]) for column in columns]
        # unlabelled text is its own positive: two dropout views of it in one forward
        self.columns = torch.stack(rows * 2 if len(rows) == 1 else rows)
        lengths = torch.tensor([len(row) for row in ids])
        self.lengths = lengths[self.columns].amax(0)
        self.scores = None if corpus.scores is None else torch.tensor(list(corpus.scores), dtype=torch.float32)
        self.special_ids = torch.tensor(sorted(backbone.special_ids), dtype=torch.long)
        self.pad_id, self.seed = backbone.pad_id, seed
        self.batch_size = min(training.batch_size, len(self.lengths))

    def __len__(self) -> int:
        full, rest = divmod(len(self.lengths), self.batch_size)
        return full + (rest >= 2)  # one example alone has no negatives

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch from the batch `start` (0, 1, ...) on."""
        generator = torch.Generator().manual_seed(self.seed * 100_003 + number)
        order = torch.randperm(len(self.lengths), generator=generator)
        if len(order) % self.batch_size == 1:
            order = order[:-1]  # here, where chance decides: after the sorting it would be the longest of its bucket
        pieces: list[torch.Tensor] = []
        for first in range(0, len(order), self.batch_size * BUCKET):
            bucket = order[first : first + self.batch_size * BUCKET]
            by_length = bucket[self.lengths[bucket].argsort(stable=True)]
            starts = range(0, len(bucket), self.batch_size)
            pieces += [piece for at in starts if len(piece := by_length[at : at + self.batch_size]) >= 2]
        draws = torch.randint(2**62, (len(pieces),), generator=generator).tolist()
        places = torch.randperm(len(pieces), generator=generator)
        for place, draw in zip(places[start:], draws[start:], strict=True):
            yield self.collate(pieces[place], draw)

    def collate(self, examples: torch.Tensor, draw: int = 0) -> Batch:
        """Pad the rows of some examples to one rectangle."""
        texts = self.columns[:, examples]
        rows = [self.tokens[text] for text in texts.flatten()]
        ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=self.pad_id)
        length = torch.tensor([len(row) for row in rows])
        mask = (torch.arange(ids.shape[1]) < length.unsqueeze(1)).long()
        anchors, positives = texts[0], texts[1]
        # [n, j]: positive j repeats n's positive or its anchor, or anchor j repeats n's
        same = (positives == positives[:, None]) | (positives == anchors[:, None]) | (anchors == anchors[:, None])
        scores = None if self.scores is None else self.scores[examples]
        teacher = None if self.teacher is None else self.teacher[texts.flatten()]
        special = torch.isin(ids, self.special_ids) & mask.bool()
        return Batch(ids, mask, special, len(texts), same, scores, draw, teacher)
