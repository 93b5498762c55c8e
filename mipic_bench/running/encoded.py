"""The vectors a cell is scored on: as encoded, transformed after the fact, or each width from a model of its own."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from mipic_bench import official
from mipic_bench.backbones import Backbone
from mipic_bench.encoding.embed import Embeddings, encode
from mipic_bench.encoding.vectors import Kept
from mipic_bench.planning.request import Cell, Inputs, Request
from mipic_bench.posthoc import Fitted, Transform, keep, kept, place
from mipic_bench.running.progress import Reporter
from mipic_bench.running.stopping import STOP
from mipic_bench.shapes import served
from mipic_bench.tasks import Fold
from mipic_bench.training import checkpoint

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Encoded:
    """Vectors, and the widths that are read off them as prefixes."""

    embeddings: Embeddings
    dims: tuple[int, ...]


def read(
    cell: Cell, backbone: Backbone, folds: Sequence[Fold], request: Request, inputs: Inputs, reporter: Reporter
) -> list[Encoded]:
    """Read out every text of some tasks once; fit and apply the method's transform, if it has one.

    Args:
        cell: or a part of it that has a model of its own.
        backbone: as trained.
        folds: the tasks.
        request, inputs, reporter: as `run.compute` has them.
    """
    texts = (say(text) for fold in folds for say in [request.prompts.of(fold)] for text in texts_of(fold, request))
    embeddings = _encode(cell, backbone, texts, request, reporter)
    transform = cell.recipe.posthoc
    if transform is None:
        return [Encoded(embeddings, cell.dims) if cell.width is None else narrowed(embeddings, cell.dims)]
    fitted = _fitted(cell, transform, backbone, request, inputs, reporter)
    return transformed(embeddings, fitted, cell.recipe.nesting.dims, cell.dims)


def _fitted(
    cell: Cell, transform: Transform, backbone: Backbone, request: Request, inputs: Inputs, reporter: Reporter
) -> dict[int, Fitted]:
    """Return the cell's transform at every layer: as an earlier run kept it, else fitted now, and kept if that is asked for."""
    file, weights = place(request.results / checkpoint.KEPT / cell.folder), checkpoint.state_digest(backbone.model)
    found = kept(file, transform, weights)
    if layers := tuple(layer for layer in cell.layers if layer not in found):
        seed = cell.seed or 0
        own = sample(inputs.corpus(cell.corpus_asked).columns["anchor"], transform.texts, seed)
        vectors = _encode(replace(cell, layers=layers), backbone, own, request, reporter)
        found |= fit(transform, vectors, cell.recipe.nesting.dims, seed)
        if request.keep_checkpoints:
            keep(file, found, weights)
    return {layer: found[layer] for layer in cell.layers}


def texts_of(fold: Fold, request: Request) -> Iterator[str]:
    """Yield every text that scoring a task looks up."""
    return official.scorer(fold).texts(fold, request.stored)


def _encode(cell: Cell, backbone: Backbone, texts: Iterable[str], request: Request, reporter: Reporter) -> Embeddings:
    with reporter.bar(f"encode {cell.recipe.method}") as update:

        def on_batch(done: int, total: int) -> None:
            update(done, total, "")
            STOP.check()

        max_length = min(cell.recipe.training.max_length, backbone.max_length)
        return encode(
            backbone,
            texts,
            cell.layers,
            max_length=max_length,
            device=next(backbone.parameters()).device,
            dtype=DTYPES[request.dtype],
            on_batch=on_batch,
            kept=_kept_vectors(backbone, max_length, request, reporter) if request.keep_vectors else None,
        )


def _kept_vectors(backbone: Backbone, max_length: int, request: Request, reporter: Reporter) -> Kept:
    """Return the vectors that earlier runs kept of a model, whatever run they belonged to."""
    return Kept.of(
        request.results,
        reporter.say,
        weights=checkpoint.state_digest(backbone.model),
        backbone=backbone.weights_digest,
        tokenizer=backbone.tokenizer_digest,
        readout=vars(backbone.readout),
        max_length=max_length,
        dtype=request.dtype,
        device=request.device.partition(":")[0],
    )


def narrowed(embeddings: Embeddings, dims: tuple[int, ...]) -> Encoded:
    """Keep no more coordinates than the widths need."""
    width = max(dims)
    return Encoded(
        Embeddings(embeddings.index, {layer: embeddings.at(layer)[:, :width] for layer in embeddings.layers}), dims
    )


def sample(texts: Sequence[str], most: int, seed: int) -> list[str]:
    """Return the distinct texts, or so many of them drawn at random."""
    unique = list(dict.fromkeys(texts))
    if len(unique) <= most:
        return unique
    chosen = np.random.default_rng(seed).choice(len(unique), most, replace=False)
    return [unique[place] for place in sorted(chosen)]


def fit(transform: Transform, embeddings: Embeddings, dims: Sequence[int], seed: int) -> dict[int, Fitted]:
    """Fit a transform on the vectors of training texts, each layer by itself; layer -> fitted."""
    return {layer: transform.fit(embeddings.at(layer), dims, seed) for layer in embeddings.layers}


def transformed(
    embeddings: Embeddings, fitted: Mapping[int, Fitted], trained: Sequence[int], asked: Sequence[int]
) -> list[Encoded]:
    """Apply what was fitted: one when prefixes serve every width, else one per fitted width.

    Args:
        embeddings: of the texts that are scored.
        fitted: layer -> fitted, for every layer of the embeddings.
        trained: the widths it was fitted for. asked: the widths to score.
    """
    if all(one.nested for one in fitted.values()):
        arrays = {layer: one.apply(embeddings.at(layer)) for layer, one in fitted.items()}
        return [Encoded(Embeddings(embeddings.index, arrays), tuple(asked))]
    found = []
    for width, dims in served(sorted({*trained, embeddings.width}), asked).items():
        arrays = {layer: one.at(embeddings.at(layer), width) for layer, one in fitted.items()}
        found.append(Encoded(Embeddings(embeddings.index, arrays), dims))
    return found
