"""Training only the rows of the embedding table that the corpus touches: the others see no gradient, but cost as much."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from mipic_bench.backbones import Backbone
from mipic_bench.training.batches import Batches


@contextmanager
def only_used_rows(backbone: Backbone, batches: Batches, shrunk: float) -> Iterator[None]:
    """Let the embedding table hold the rows of the batches' tokens alone while the block runs, on the CPU.

    A table of 30,000 rows is half of a small encoder, and its gradient, its norm and its optimizer step read all of it at every
    step. A row that no text of the corpus holds gets no gradient: AdamW only shrinks it. That is done once, at the end; the result is
    that of training the whole table up to rounding. Where most rows are used, or the table is not trained, nothing happens.

    Args:
        backbone: on the device that it is trained on.
        batches: tokenized; their token ids are those of the small table inside the block and of no use behind it.
        shrunk: what weight decay multiplies an untouched weight by over the whole training.
    """
    table = backbone.model.get_input_embeddings()
    if not isinstance(table, nn.Embedding) or not table.weight.requires_grad or table.weight.device.type != "cpu":
        yield
        return
    whole = table.weight
    # the ids up to the padding's stay what they are: some models count positions by comparing ids with it
    first = torch.arange(max(backbone.pad_id, table.padding_idx or 0) + 1)
    used = torch.unique(torch.cat([first, *batches.tokens]))
    if 2 * len(used) > len(whole):
        yield
        return
    places = torch.full((len(whole),), -1)
    places[used] = torch.arange(len(used))
    table.weight = nn.Parameter(whole.detach()[used])
    batches.tokens = [places[row] for row in batches.tokens]
    batches.special_ids = places[batches.special_ids]
    try:
        yield
    finally:
        with torch.no_grad():
            whole.mul_(shrunk)[used] = table.weight
        table.weight = whole
