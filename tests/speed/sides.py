"""The two sides of the benchmarks: this project, and sentence-transformers given the same model, texts, batch and arithmetic."""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from harness import text_corpus

from mipic_bench import backbones
from mipic_bench.backbones import Backbone
from mipic_bench.corpora import Corpus
from mipic_bench.recipes import methods
from mipic_bench.recipes.resolved import Resolved, resolve
from mipic_bench.training import trainer

MIXED = {"float32": "no", "bfloat16": "bf16"}
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
SETTINGS: dict[str, Any] = {"epochs": 1, "learning_rate": 2e-5, "weight_decay": 0.01, "clip": 1.0, "warmup": 0.1}


def default_dtype() -> str:
    """Return bfloat16 where the processor has it, as `mipic-bench run` does."""
    from mipic_bench.planning.device import resolve_dtype

    return resolve_dtype("auto", "cuda" if torch.cuda.is_available() else "cpu")


def recipe_on(method: str, backbone: Backbone, **training: Any) -> Resolved:
    """Resolve a method on a backbone with some training settings."""
    return resolve(methods.find([method])[0], backbone.shape, backbone.name, {**SETTINGS, **training})


def train_ours(
    backbone: Backbone,
    recipe: Resolved,
    corpus: Corpus,
    dtype: str,
    on_step: Callable[[int], None] | None = None,
) -> float:
    """Train in place as a run does and return the seconds, tokenization included."""
    device = "cuda" if next(backbone.parameters()).is_cuda else "cpu"
    AcceleratorState._reset_state(
        reset_partial_state=True
    )  # it remembers the arithmetic of the process's first training
    accelerator = Accelerator(cpu=device == "cpu", mixed_precision=MIXED[dtype])

    def told(step: int, _steps: int, _entry: dict[str, Any]) -> None:
        if on_step:
            on_step(step)

    start = perf_counter()
    trainer.train(backbone, recipe, corpus, 0, accelerator, told)
    return perf_counter() - start


def step_seconds(backbone: Backbone, recipe: Resolved, corpus: Corpus, dtype: str) -> list[float]:
    """Train and return the seconds of each step but the first, loading of the batch included."""
    times: list[float] = []
    train_ours(backbone, recipe, corpus, dtype, lambda _step: times.append(perf_counter()))
    return [after - before for before, after in zip(times, times[1:], strict=False)]


def peer_model(folder: Path, max_length: int) -> Any:
    """Load a model folder with mean pooling into sentence-transformers."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    body = Transformer(str(folder), max_seq_length=max_length)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = SentenceTransformer(modules=[body, Pooling(body.get_embedding_dimension(), "mean")], device=device)
    model.model_card_data.generate_widget_examples = False  # it would cost a short training more than a long one
    return model


def train_peer(
    model: Any, wrap: Callable[[Any], Any], texts: Sequence[str], batch: int, steps: int, dtype: str
) -> float:
    """Train on SimCSE pairs with the peer's trainer, our settings, and return the seconds, tokenization included."""
    from datasets import Dataset
    from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments

    with TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        start = perf_counter()
        arguments = SentenceTransformerTrainingArguments(
            folder,
            per_device_train_batch_size=batch,
            max_steps=steps,
            learning_rate=SETTINGS["learning_rate"],
            weight_decay=SETTINGS["weight_decay"],
            max_grad_norm=SETTINGS["clip"],
            warmup_steps=round(SETTINGS["warmup"] * steps),
            lr_scheduler_type="cosine",
            optim="adamw_torch_fused",
            bf16=dtype == "bfloat16",
            use_cpu=not torch.cuda.is_available(),
            dataloader_drop_last=True,
            dataloader_pin_memory=torch.cuda.is_available(),
            save_strategy="no",
            report_to="none",
            logging_strategy="no",
            disable_tqdm=True,
        )
        data = Dataset.from_dict({"anchor": list(texts), "positive": list(texts)})
        SentenceTransformerTrainer(model=model, args=arguments, train_dataset=data, loss=wrap(model)).train()
        return perf_counter() - start


def save_backbone(backbone: Backbone, folder: Path, layer: int | None = None) -> Path:
    """Write a backbone, cut to its first blocks if asked, as a model folder."""
    model = backbone.model if layer is None else backbone.cut(layer)
    model.save_pretrained(folder)
    backbone.tokenizer.save_pretrained(folder)
    return folder


def warm_up(backbone: str, method: str, texts: Sequence[str], dtype: str, **training: Any) -> None:
    """Let the first steps of a process, which are slow, be over."""
    body = backbones.load(backbone, offline=True)
    train_ours(body, recipe_on(method, body, max_steps=2, **training), text_corpus(texts), dtype)
