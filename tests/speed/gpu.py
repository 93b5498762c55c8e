"""On a CUDA card: a BERT-base-shaped encoder with random weights, batch 256 x 64 tokens, bfloat16, and a whole small study."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np
import torch
from harness import Rows, options, text_corpus, turns
from products import best_square, operations, own_rate, sizes_of
from sides import peer_model, recipe_on, step_seconds, train_ours, train_peer
from training import peer_loss

from mipic_bench import backbones
from mipic_bench.backbones import Backbone
from mipic_bench.encoding.embed import encode
from mipic_bench.shapes import default_dims

TOKENS = 64


def random_model(folder: Path, depth: int, width: int, heads: int) -> list[str]:
    """Save a BERT with random weights and a vocabulary of its own; return its words."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = [f"w{place}" for place in range(30522 - len(marks))]
    vocabulary = {word: place for place, word in enumerate([*marks, *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    named = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=512, **named).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=30522,
        hidden_size=width,
        num_hidden_layers=depth,
        num_attention_heads=heads,
        intermediate_size=4 * width,
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    return words


def loaded(folder: Path) -> Backbone:
    """Load the model onto the card, mean pooling."""
    return backbones.load(str(folder), pooling="mean").to("cuda")


def encode_seconds(backbone: Backbone, texts: list[str]) -> float:
    """Encode at every layer and return the seconds."""
    torch.cuda.synchronize()
    start = perf_counter()
    layers = range(1, backbone.shape.depth + 1)
    encode(backbone, texts, list(layers), max_length=TOKENS, device=torch.device("cuda"), dtype=torch.bfloat16)
    return perf_counter() - start


def peer_encode_seconds(model: Any, texts: list[str], batch: int) -> float:
    """Encode at the last layer with the peer and return the seconds."""
    torch.cuda.synchronize()
    start = perf_counter()
    with torch.autocast("cuda", torch.bfloat16):
        model.encode(texts, batch_size=batch)
    return perf_counter() - start


def steps_seconds(folder: Path, method: str, texts: list[str], batch: int) -> float:
    """Return the seconds of a step, mean over the later half of a training (the card works behind the loop)."""
    backbone = loaded(folder)
    recipe = recipe_on(method, backbone, batch_size=batch, max_length=TOKENS)
    times = step_seconds(backbone, recipe, text_corpus(texts), "bfloat16")
    return float(np.mean(times[len(times) // 2 :]))


def study_seconds(folder: Path, texts: list[str], batch: int) -> float:
    """Train three methods with two seeds' worth of steps each and encode after each; return the seconds."""
    start = perf_counter()
    for method in ("full", "mrl", "mipic"):
        for _seed in range(2):
            backbone = loaded(folder)
            recipe = recipe_on(method, backbone, batch_size=batch, max_length=TOKENS)
            train_ours(backbone, recipe, text_corpus(texts), "bfloat16")
            encode_seconds(backbone, texts)
    return perf_counter() - start


def main() -> None:
    args = options(__doc__, batch={"type": int, "default": 256}, steps={"type": int, "default": 40})
    if not torch.cuda.is_available():
        raise SystemExit("no CUDA card here")
    card, runs = torch.cuda.get_device_name(0), args.runs or (1 if args.quick else 5)
    rows = Rows("gpu", args, "bfloat16", card)
    shape = (2, 128, 2) if args.quick else (12, 768, 12)
    batch, steps = (16, 8) if args.quick else (args.batch, args.steps)
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        words = random_model(folder, *shape)
        drawn = np.random.default_rng(0).integers(0, len(words), (batch * steps, TOKENS - 2))
        texts = [" ".join(words[place] for place in row) for row in drawn]
        sizes = sizes_of(loaded(folder).model.config)
        best, size = best_square(torch.bfloat16, "cuda", (1024, 2048, 4096, 8192, 16384))
        rows.add("best square product", f"{size} x {size}", "TFLOP/s", [best / 1e12])
        own = own_rate(sizes, 2 * batch, TOKENS, torch.bfloat16, "cuda", backward=True) / 1e12
        rows.add("own product shapes", f"forward and backward, {2 * batch} x {TOKENS}", "TFLOP/s", [own])
        one_step = 3 * operations(sizes, [TOKENS] * 2 * batch) / 1e12
        sides: dict[str, Callable[[], float]] = {
            name: lambda name=name: steps_seconds(folder, name, texts, batch) for name in ("mipic", "full")
        }
        measured = turns(sides, runs)
        case = f"BERT-base shape, batch {batch} x {TOKENS} tokens" if not args.quick else "small"
        rows.add("step, mipic against plain", case, "s", measured["mipic"], measured["full"], "<= 1.1")
        rates = [one_step / value for value in measured["full"]]
        rows.add("training, of the best square", case, "TFLOP/s", rates, [best / 1e12] * runs)
        dims = default_dims(shape[1])
        ends = {
            "ours": lambda: batch * steps / ours_end(folder, texts, batch),
            "peer": lambda: (
                batch
                * steps
                / train_peer(peer_model(folder, TOKENS), peer_loss(False, dims), texts, batch, steps, "bfloat16")
            ),
        }
        measured = turns(ends, runs)
        rows.add("training mrl, end to end", case, "pairs/s", measured["ours"], measured["peer"], ">= 1")
        backbone, model = loaded(folder), peer_model(folder, TOKENS)
        encoded = turns(
            {"ours": lambda: encode_seconds(backbone, texts), "peer": lambda: peer_encode_seconds(model, texts, batch)},
            runs,
        )
        rows.add("encoding, ours at every layer", case, "s", encoded["ours"], encoded["peer"], ">= 1", "ours")
        count = operations(sizes, [TOKENS] * len(texts)) / 1e12
        rates = [count / value for value in encoded["ours"]]
        rows.add("encoding, of the best square", case, "TFLOP/s", rates, [best / 1e12] * runs)
        rows.add("whole study", f"3 methods x 2, {steps} steps of {case}", "s", [study_seconds(folder, texts, batch)])


def ours_end(folder: Path, texts: list[str], batch: int) -> float:
    """Train MRL and return the seconds, tokenization included."""
    backbone = loaded(folder)
    return train_ours(
        backbone, recipe_on("mrl", backbone, batch_size=batch, max_length=TOKENS), text_corpus(texts), "bfloat16"
    )


if __name__ == "__main__":
    main()
