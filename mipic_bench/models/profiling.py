"""What a budget costs: bytes per vector, time and FLOPs to encode a text, time to search an index. Measured, not guessed.

Encoding runs the blocks up to the layer and no further, as an exported model does, through the same path as scoring:
tokenizing, batches of similar length, pooling. Searching is exact, one query at a time, on the CPU, over random vectors:
its time depends on width, precision and size, not on what the vectors mean. float32 and int8 are products, binary counts
the bits that differ, binary+rescore also ranks its best candidates by the float query.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from mipic_bench import backbones, corpora
from mipic_bench.backbones import Backbone
from mipic_bench.encoding.embed import encode
from mipic_bench.errors import UserError
from mipic_bench.evaluators import bytes_per_vector
from mipic_bench.evaluators._search import CANDIDATES
from mipic_bench.models.costs import COLUMNS, KEYS
from mipic_bench.models.evaluating import own_dims
from mipic_bench.models.export import parameters
from mipic_bench.planning.device import resolve_device, resolve_dtype
from mipic_bench.running import environment
from mipic_bench.shapes import default_dims, require

TEXTS = 128  # distinct texts that encoding is timed on, at most
NEAREST = 10  # neighbors that a search returns
_SHORTEST = 4  # tokens of a text; recipes allow no fewer
_REPEATS = 3
_QUERIES = 5

Search = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Settings:
    """How costs are measured.

    Attributes:
        layers: None for all.
        dims: None for the backbone's default widths.
        precisions: how vectors are stored.
        index_size: vectors in the index that is searched.
        corpus: whose first texts are encoded.
        data: a folder of local corpora.
        max_length: tokens kept of a text.
        device: where texts are encoded; "auto" is a CUDA card if there is one.
        dtype: arithmetic of encoding; "auto" is bfloat16 where the hardware has it.
        offline: never ask the hub.
    """

    layers: tuple[int, ...] | None = None
    dims: Sequence[int] | None = None
    precisions: tuple[str, ...] = ("float32", "int8", "binary", "binary+rescore")
    index_size: int = 100_000
    corpus: str = "toy"
    data: Path | None = None
    max_length: int = 256
    device: str = "auto"
    dtype: str = "float32"
    offline: bool = False


def profile(name: str, settings: Settings, on_step: Callable[[int, int, str], None] | None = None) -> pd.DataFrame:
    """Measure what every budget of a backbone costs.

    Args:
        name: a backbone, as `backbones.load` takes it.
        settings: what is measured, and how.
        on_step: called with (done, total, what).

    Returns:
        A row per (layer, dim, precision) with the columns `COLUMNS`: `bytes` of a stored vector; `parameters` of the model cut
        at the layer; `flops`, `encode_ms` and `texts_per_second` of encoding, per text of `tokens` tokens on average;
        `search_ms` of one query among `index_size` vectors; what it was measured on; and the beginning of the weights' sha256.

    Raises:
        UserError: a backbone, layer, dim, precision or corpus that is not there, an index without vectors, texts that are too short.
    """
    device = resolve_device(settings.device)
    settings = replace(settings, device=device, dtype=resolve_dtype(settings.dtype, device))
    settings = replace(settings, precisions=tuple(dict.fromkeys(settings.precisions)))
    settings = replace(settings, dims=own_dims(settings.dims, backbones.card(name, offline=settings.offline)))
    backbone = backbones.load(name, offline=settings.offline)
    layers, dims = _budgets(backbone, settings)
    texts = _texts(settings)
    steps = len(layers) + len(dims) * len(settings.precisions)
    tell = on_step or (lambda done, total, what: None)
    backbone.to(settings.device)
    encoding: dict[int, dict[str, float]] = {}
    for layer in layers:
        encoding[layer] = encoding_cost(backbone, layer, texts, settings)
        tell(len(encoding), steps, f"layer {layer}")
    searching: dict[tuple[int, str], float] = {}
    for dim, precision, seconds in search_seconds(dims, settings.precisions, settings.index_size):
        searching[dim, precision] = seconds
        tell(len(layers) + len(searching), steps, f"width {dim}, {precision}")
    own = {"backbone": backbone.name, "weights": backbone.weights_digest[:12]}
    common = {**own, "index_size": settings.index_size, **_machine(settings)}
    rows = [
        {
            **common,
            **dict(zip(KEYS, (layer, dim, precision), strict=True)),
            "bytes": bytes_per_vector(dim, precision),
            **encoding[layer],
            "search_ms": 1e3 * searching[dim, precision],
        }
        for layer in layers
        for dim in dims
        for precision in settings.precisions
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def encoding_cost(backbone: Backbone, layer: int, texts: Sequence[str], settings: Settings) -> dict[str, float]:
    """Return what it costs to encode a text at a layer: parameters, flops, encode_ms, texts_per_second, tokens."""
    from mipic_bench.running.encoded import DTYPES

    max_length = min(settings.max_length, backbone.max_length)

    def once() -> None:
        encode(
            backbone,
            texts,
            [layer],
            max_length=max_length,
            device=torch.device(settings.device),
            dtype=DTYPES[settings.dtype],
        )

    # the products of attention are counted only where it is written out
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        once()  # this is also the warm-up
    seconds = median(_timed(once) for _ in range(_REPEATS)) / len(texts)
    unused = sum(parameters(block) for block in list(backbone.blocks)[layer:])
    return {
        "parameters": parameters(backbone.model) - unused,
        "flops": counter.get_total_flops() / len(texts),
        "encode_ms": 1e3 * seconds,
        "texts_per_second": 1 / seconds,
        "tokens": float(np.mean([len(row) for row in backbone.tokenize(texts, max_length)])),
    }


def search_seconds(
    dims: Sequence[int], precisions: Sequence[str], size: int, seed: int = 0
) -> Iterator[tuple[int, str, float]]:
    """Yield (dim, precision, median seconds of one query) over an index of random vectors of length 1."""
    generator = np.random.default_rng(seed)
    vectors = generator.standard_normal((size, max(dims)), dtype=np.float32)
    queries = generator.standard_normal((_QUERIES + 1, max(dims)), dtype=np.float32)
    for dim in dims:
        cut = np.ascontiguousarray(vectors[:, :dim])
        cut /= np.linalg.norm(cut, axis=1, keepdims=True)
        for precision in precisions:
            search = index(cut, precision)
            search(queries[0, :dim])  # warm-up
            yield dim, precision, median(_timed(lambda: search(query)) for query in queries[1:, :dim])  # noqa: B023


def index(vectors: np.ndarray, precision: str) -> Search:
    """Store vectors at a precision and return an exact search over them.

    Args:
        vectors: (vector, dim) float32 of length 1.
        precision: one of `evaluators.PRECISIONS`.

    Returns:
        A function from a float32 query (dim,) to the positions of its `NEAREST` best vectors, best first.
    """
    best = min(NEAREST, len(vectors))
    if precision in ("float32", "int8"):
        return _products(vectors, precision, best)
    bits = _packed(vectors)
    dim = vectors.shape[1]

    def by_bits(query: np.ndarray) -> np.ndarray:
        return _top(-_differing(bits, query), best)

    def rescored(query: np.ndarray) -> np.ndarray:
        near = _top(-_differing(bits, query), min(CANDIDATES, len(bits)))
        signs = np.unpackbits(bits[near].view(np.uint8), axis=1, count=dim).astype(np.float32) * 2 - 1
        return np.asarray(near[_top(signs @ query, best)])

    return by_bits if precision == "binary" else rescored


def _budgets(backbone: Backbone, settings: Settings) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the layers and dims to measure, if the backbone has them."""
    shape = backbone.shape
    layers = tuple(sorted(set(settings.layers or range(1, shape.depth + 1))))
    dims = tuple(sorted(set(settings.dims or default_dims(shape.width))))
    require(shape, backbone.name, layers, dims)
    for precision in settings.precisions:
        bytes_per_vector(1, precision)
    if settings.index_size < 1:
        raise UserError("--index-size", f"{settings.index_size} vectors are no index", "ask for 1 or more")
    if settings.max_length < _SHORTEST:
        what = f"{settings.max_length} tokens of a text are fewer than {_SHORTEST}"
        raise UserError("--max-length", what, f"ask for {_SHORTEST} or more")
    return layers, dims


def _texts(settings: Settings) -> list[str]:
    corpus = corpora.load(settings.corpus, settings.data)
    return list(dict.fromkeys(corpus.columns["anchor"]))[:TEXTS]


def _machine(settings: Settings) -> Mapping[str, Any]:
    known = environment.device(settings.device)
    return {
        "device": settings.device,
        "dtype": settings.dtype,
        "threads": known["threads"],
        "processor": known.get("card") or known.get("processor") or known["machine"],
    }


def _timed(work: Callable[[], object]) -> float:
    start = perf_counter()
    work()
    return perf_counter() - start


def _products(vectors: np.ndarray, precision: str, best: int) -> Search:
    if precision == "float32":
        stored = torch.from_numpy(vectors)
        return lambda query: torch.topk(stored @ torch.from_numpy(query), best).indices.numpy()
    codes = torch.from_numpy(np.rint(vectors * 127).astype(np.int8))

    def search(query: np.ndarray) -> np.ndarray:
        scale = 127 / max(float(np.abs(query).max()), 1e-12)
        code = torch.from_numpy(np.rint(query * scale).astype(np.int8))
        # summed in int32; private in torch, and the only such product it has
        return np.asarray(torch.topk(torch._int_mm(codes, code[:, None])[:, 0], best).indices)

    return search


def _packed(vectors: np.ndarray) -> np.ndarray:
    """Return the signs as bits, (vector, words) uint64, rows filled up with zeros."""
    bits = np.packbits(vectors > 0, axis=1)
    return np.pad(bits, ((0, 0), (0, -bits.shape[1] % 8))).view(np.uint64)


def _differing(bits: np.ndarray, query: np.ndarray) -> np.ndarray:
    """Return the number of signs that differ from the query's, (vector,)."""
    return np.asarray(np.bitwise_count(bits ^ _packed(query[None])).sum(axis=1, dtype=np.int32))


def _top(scores: np.ndarray, best: int) -> np.ndarray:
    """Return the positions of the best scores, best first."""
    kept = np.argpartition(-scores, best - 1)[:best]
    return np.asarray(kept[np.argsort(-scores[kept], kind="stable")])


def table(frame: pd.DataFrame) -> list[Any]:
    """Return a profile as two tables for the terminal: encoding by layer, storing and searching by width and precision."""
    from mipic_bench.analysis.tables import Column, Table, terminal

    first = frame.iloc[0]
    encoding = frame.drop_duplicates("layer").assign(million=frame["flops"] / 1e6, parameters=frame["parameters"] / 1e6)
    searching = frame.drop_duplicates(["dim", "precision"])
    where = f"{first['dtype']} on {first['device']} ({first['processor']}, {first['threads']} threads)"
    columns = (
        Column("layer", "layer", "integer"),
        Column("parameters", "parameters, M", "number"),
        Column("million", "MFLOPs per text", "number"),
        Column("encode_ms", "ms per text", "number"),
        Column("texts_per_second", "texts per second", "number"),
    )
    note = f"Texts of {first['tokens']:.1f} tokens on average, {where}."
    by_layer = Table("encoding", f"{first['backbone']}: encoding", encoding, columns, note)
    stored = (
        Column("dim", "dim", "integer"),
        Column("precision", "precision"),
        Column("bytes", "bytes per vector", "integer"),
        Column("search_ms", "ms per query", "number"),
    )
    note = f"Exact search for {NEAREST} of {first['index_size']:,} random vectors, one query at a time, on the CPU."
    by_width = Table("searching", f"{first['backbone']}: storing and searching", searching, stored, note)
    return [terminal(by_layer), terminal(by_width)]
