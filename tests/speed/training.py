"""Pairs per second of training, tokenization and loading included, against sentence-transformers' trainer and nested losses.

Each measurement runs in a process of its own, so that no side profits from what the other one set up.
"""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from harness import Rows, child, corpus_texts, options, text_corpus, turns
from sides import default_dtype, peer_model, recipe_on, save_backbone, train_ours, train_peer, warm_up

from mipic_bench import backbones
from mipic_bench.recipes import methods
from mipic_bench.shapes import default_dims

LENGTH = 128


def peer_loss(two_d: bool, dims: tuple[int, ...]) -> Callable[[Any], Any]:
    """Return what wraps a model in the peer's nested loss, temperature 0.05 as ours."""
    from sentence_transformers.sentence_transformer import losses

    def wrap(model: Any) -> Any:
        base = losses.MultipleNegativesRankingLoss(model, scale=20)
        nested = losses.Matryoshka2dLoss if two_d else losses.MatryoshkaLoss
        return nested(model, base, list(reversed(dims)))

    return wrap


def ours(method: str, texts: list[str], batch: int, dtype: str) -> float:
    """Return pairs per second of our trainer over one epoch of the texts."""
    backbone = backbones.load("minilm", offline=True)
    steps = len(texts) // batch
    recipe = recipe_on(method, backbone, batch_size=batch, max_steps=steps, max_length=LENGTH)
    return steps * batch / train_ours(backbone, recipe, text_corpus(texts), dtype)


def peer(method: str, texts: list[str], batch: int, dtype: str) -> float:
    """Return pairs per second of the peer's trainer over one epoch of the texts."""
    steps = len(texts) // batch
    with TemporaryDirectory() as temporary:
        folder = save_backbone(backbones.load("minilm", offline=True), Path(temporary))
        loss = peer_loss(method != "mrl", default_dims(384))
        return steps * batch / train_peer(peer_model(folder, LENGTH), loss, texts, batch, steps, dtype)


def in_a_process(side: str, method: str, batch: int) -> float:
    """Measure one side in a process of its own."""
    return float(child(__file__, "--side", side, "--method", method, "--only", str(batch)))


def main() -> None:
    args = options(
        __doc__,
        data={"type": Path, "default": None, "help": "folder of datasets"},
        corpus={"default": "unsup_union", "help": "a corpus of texts in it"},
        texts={"type": int, "default": 2048, "help": "different texts trained on, one epoch"},
        batch={"type": int, "nargs": "*", "default": [64, 16]},
        side={"choices": ("ours", "peer"), "help": "measure one side once, print its pairs per second and stop"},
        method={"default": "mrl"},
        only={"type": int, "default": 16, "help": "batch of the one side"},
    )
    dtype = default_dtype()
    texts = corpus_texts(args.data, args.corpus if args.data else "toy", 256 if args.quick else args.texts)
    if args.side:
        warm_up("minilm", "mrl", texts[:64], dtype, batch_size=16, max_length=LENGTH)
        print(json.dumps({"ours": ours, "peer": peer}[args.side](args.method, texts, args.only, dtype)))
        return
    rows, runs = Rows("training", args, dtype), args.runs or (1 if args.quick else 3)
    two_d = next(name for name in ("2d-mrl-st", "2d-mrl") if name in methods.catalog())
    for method in ("mrl", two_d):
        for batch in args.batch[:1] if args.quick else args.batch:
            sides = {side: partial(in_a_process, side, method, batch) for side in ("ours", "peer")}
            measured = turns(sides, runs)
            against = "MatryoshkaLoss" if method == "mrl" else "Matryoshka2dLoss"
            rows.add(
                f"training {method}",
                f"{args.corpus if args.data else 'toy'}, batch {batch}",
                "pairs/s",
                measured["ours"],
                measured["peer"],
                ">= 2",
                note=f"peer: SentenceTransformerTrainer, {against}(MultipleNegativesRankingLoss), 7 dims, {len(texts) // batch} steps",
            )


if __name__ == "__main__":
    main()
