"""A post-hoc transform as affine maps, so that sentence-transformers can run it; kept, or fitted again as it was for the scores."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mipic_bench import corpora
from mipic_bench.analysis.reproduce import corpus_of
from mipic_bench.backbones import Backbone
from mipic_bench.encoding.embed import encode
from mipic_bench.errors import UserError
from mipic_bench.posthoc import Affine, Fitted, kept, transforms
from mipic_bench.running import encoded
from mipic_bench.training import checkpoint

_CLOSE = 1e-4  # of a vector's length: how well an affine map must repeat a transform


def cut(width: int, dim: int) -> list[Affine]:
    """Return the map onto the first coordinates: the first rows of the identity, or nothing at full width."""
    return [Affine(np.eye(dim, width, dtype=np.float32))] if dim < width else []


def fitted(
    record: Mapping[str, Any], dims: Sequence[int], backbone: Backbone, layer: int, place: Path, data: Path | None
) -> Fitted:
    """Return a run's transform at one layer: as it was kept, else fitted again as it was for its scores.

    Fitted again on the same kind of machine with the same number of threads it is the same, bit for bit. Otherwise sums
    are rounded in another order, and a transform that is learned in hundreds of steps may end elsewhere.

    Args:
        record: the run's provenance.
        dims: the widths that the model was trained at.
        backbone: its weights, on the CPU.
        layer: the layer that is read out.
        place: where it would be kept, see `posthoc.place`.
        data: a folder of local corpora.

    Raises:
        UserError: it was not kept, and the corpus or the transform's code is not there or not what it was.
    """
    settings = dict(record["recipe"]["posthoc"])
    kind, version = settings.pop("transform"), settings.pop("version")
    transform = transforms()[kind](**settings)
    there = kept(place, transform, checkpoint.state_digest(backbone.model))
    if layer in there:
        return there[layer]
    if version != transform.version:
        what = f"it was fitted by version {version} of {kind}, here is version {transform.version}"
        raise UserError("the run's transform", what, "run the method anew")
    known = record["identity"]["corpus"]
    corpus = corpora.load(corpus_of(record), data)
    if corpus.digest != known["digest"]:
        what = f"its sha256 is {corpus.digest[:12]}..., the run was fitted on {known['digest'][:12]}..."
        raise UserError(f"corpus {corpus.name}", what, "give the corpus as it was (--data), or run again")
    seed = int(record["cell"]["seed"] or 0)
    texts = encoded.sample(corpus.columns["anchor"], transform.texts, seed)
    max_length = min(int(record["identity"]["max_length"]), backbone.max_length)
    dtype = encoded.DTYPES[record["dtype"]]
    read = encode(backbone, texts, [layer], max_length=max_length, device=torch.device("cpu"), dtype=dtype)
    return transform.fit(read.at(layer), dims, seed)


def as_maps(fitted: Fitted, width: int, dim: int) -> list[Affine]:
    """Return a transform at one width as affine maps, after some random vectors were mapped both ways.

    Args:
        fitted: the transform.
        width: of the vectors that it takes.
        dim: of those that it gives.

    Raises:
        UserError: it is neither affine nor known otherwise.
    """
    maps = fitted.affine_maps(width, dim)
    some = np.random.default_rng(0).standard_normal((64, width)).astype(np.float32)
    expected = fitted.at(some, dim)
    error = np.abs(applied(maps, some) - expected).max() / max(float(np.linalg.norm(expected, axis=1).mean()), 1e-12)
    if not error < _CLOSE:
        what = f"a {type(fitted).__name__} transform is no affine map (it misses by {error:.1e})"
        raise UserError("export", what, "only transforms that are can be written as modules of sentence-transformers")
    return maps


def applied(maps: list[Affine], vectors: np.ndarray) -> np.ndarray:
    """Apply maps to vectors, (n, in) -> (n, out)."""
    for one in maps:
        vectors = vectors @ one.weight.T + (0 if one.bias is None else one.bias)
        vectors = np.maximum(vectors, 0) if one.relu else vectors
    return vectors
