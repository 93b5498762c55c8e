"""Training and encoding as a share of what the machine's matrix products can do, and where the rest of a step goes."""

from collections import Counter
from functools import partial
from pathlib import Path
from time import perf_counter

import torch
from harness import Rows, corpus_texts, options, text_corpus, turns
from products import Sizes, best_square, operations, own_rate, sizes_of
from sides import DTYPES, default_dtype, recipe_on, train_ours

from mipic_bench import backbones
from mipic_bench.backbones import Backbone
from mipic_bench.encoding.embed import encode
from mipic_bench.recipes.resolved import Resolved
from mipic_bench.training.batches import Batches

LENGTH = 128
GROUPS = {
    "matrix products": ("mm", "addmm", "bmm", "baddbmm_", "mkldnn", "flash_attention", "scaled_dot_product"),
    "drawing dropout": ("bernoulli_", "random_"),
    "gelu": ("gelu",),
    "layer norm": ("layer_norm",),
    "softmax": ("softmax",),
    "copies and casts": ("copy_", "cat", "clone"),
    "optimizer and clipping": ("adamw", "linalg_vector_norm", "foreach"),
    "embedding": ("embedding", "index_select"),
    "filling with zeros": ("fill_", "zero_"),
}


def batches_of(backbone: Backbone, recipe: Resolved, texts: list[str]) -> Batches:
    """Return the batches that training on these texts makes."""
    return Batches(backbone, text_corpus(texts), recipe.training, 0)


def counted(batches: Batches, sizes: Sizes) -> tuple[float, float, float]:
    """Return the forward operations of one epoch over real and over padded tokens, and the mean padded length."""
    real = padded = 0.0
    shapes = []
    for batch in batches.epoch(0):
        real += operations(sizes, batch.mask.sum(1).tolist())
        padded += operations(sizes, [batch.mask.shape[1]] * len(batch.mask))
        shapes.append(batch.mask.shape[1])
    return real, padded, sum(shapes) / len(shapes)


def train_seconds(method: str, texts: list[str], dtype: str, batch: int) -> float:
    """Train one epoch and return its seconds, tokenization included."""
    backbone = backbones.load("minilm", offline=True)
    return train_ours(
        backbone, recipe_on(method, backbone, batch_size=batch, max_length=LENGTH), text_corpus(texts), dtype
    )


def encode_seconds(texts: list[str], dtype: str) -> float:
    """Encode at every layer and return the seconds, tokenization included."""
    backbone = backbones.load("minilm", offline=True)
    start = perf_counter()
    encode(backbone, texts, [1, 2, 3, 4, 5, 6], max_length=LENGTH, device=torch.device("cpu"), dtype=DTYPES[dtype])
    return perf_counter() - start


def shares(method: str, texts: list[str], dtype: str, batch: int) -> dict[str, float]:
    """Profile a training and return the share of its time that each group of operations takes."""
    start = perf_counter()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        start = perf_counter()
        train_seconds(method, texts, dtype, batch)
        whole = perf_counter() - start
    found: Counter[str] = Counter()
    for event in profiler.key_averages():
        name = event.key.removeprefix("aten::")
        group = next((group for group, parts in GROUPS.items() if any(part in name for part in parts)), "")
        if group or event.key.startswith("aten::"):
            found[group or "other operations"] += event.self_cpu_time_total / 1e6
    found["Python, loading, tokenization"] = max(0.0, whole - sum(found.values()))
    return {group: value / whole for group, value in found.most_common()}


def main() -> None:
    args = options(
        __doc__,
        data={"type": Path, "default": None, "help": "folder of datasets"},
        corpus={"default": "unsup_union", "help": "a corpus of texts in it"},
        batch={"type": int, "default": 64},
        texts={"type": int, "default": 1536},
    )
    main_dtype, runs = default_dtype(), args.runs or (1 if args.quick else 3)
    texts = corpus_texts(args.data, args.corpus if args.data else "toy", 128 if args.quick else args.texts)
    rows = Rows("ceiling", args)
    backbone = backbones.load("minilm", offline=True)
    sizes = sizes_of(backbone.model.config)
    recipe = recipe_on("mrl", backbone, batch_size=args.batch, max_length=LENGTH)
    real, padded, length = counted(batches_of(backbone, recipe, texts), sizes)
    lengths = [len(ids) for ids in backbone.tokenize(texts, LENGTH)]
    single = operations(sizes, lengths)
    squares = (256, 512) if args.quick else (512, 1024, 2048, 4096)
    for dtype in dict.fromkeys((main_dtype, "float32")):
        add = partial(rows.add, dtype=dtype)
        best, size = best_square(DTYPES[dtype], "cpu", squares)
        add("best square product", f"{size} x {size}", "GFLOP/s", [best / 1e9])
        own: dict[bool, float] = {}
        for backward, case in ((False, "forward"), (True, "forward and backward")):
            own[backward] = own_rate(sizes, 2 * args.batch, round(length), DTYPES[dtype], "cpu", backward=backward)
            add(
                "own product shapes",
                f"{case}, {2 * args.batch} x {length:.0f} tokens",
                "GFLOP/s",
                [own[backward] / 1e9],
            )
        sides = {
            "train": partial(train_seconds, "mrl", texts, dtype, args.batch),
            "encode": partial(encode_seconds, texts, dtype),
        }
        measured = turns(sides, runs)
        for what, count, ceiling, target in (
            ("train", 3 * real, own[True], ">= 0.4"),
            ("train", 3 * padded, own[True], ""),
            ("encode", single, own[False], ">= 0.5"),
        ):
            kind = "computed, padding too" if count == 3 * padded else "real tokens only"
            rate = [count / seconds / 1e9 for seconds in measured[what]]
            case, note = f"{kind}, batch {args.batch}", "tokenization and loading included"
            add(f"{what}, of own shapes", case, "GFLOP/s", rate, [ceiling / 1e9] * runs, target, note=note)
            add(f"{what}, of the best square", case, "GFLOP/s", rate, [best / 1e9] * runs, note=note)
    for method in ("mrl", "mipic"):
        for group, share in shares(method, texts, main_dtype, args.batch).items():
            rows.add(f"profile of {method}", group, "share", [share], dtype=main_dtype)


if __name__ == "__main__":
    main()
