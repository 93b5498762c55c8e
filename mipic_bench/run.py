"""One cell from top to bottom: load, train, encode once, score every budget, write. And a plan's cells one after another."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import pandas as pd
import torch
from accelerate import Accelerator

from mipic_bench import backbones, evaluators, leakage, provenance, results, trainer
from mipic_bench.backbones import Backbone
from mipic_bench.embed import Embeddings, encode
from mipic_bench.evaluators import Score
from mipic_bench.plan import UNIT, Cell, Inputs, Request
from mipic_bench.progress import Reporter
from mipic_bench.tasks import Fold

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_MIXED = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}


@dataclass(frozen=True)
class Scored:
    """The scores of one task, and what is written about them."""

    fold: Fold
    scores: Sequence[Score]
    seconds: float


def resolve_device(device: str) -> str:
    """Return the device to use: as asked, else a CUDA card, else the CPU."""
    if device != "auto":
        return device
    return "cuda" if torch.cuda.is_available() else "cpu"


def resolve_dtype(dtype: str, device: str) -> str:
    """Return the arithmetic to use: as asked, else bfloat16 where the hardware has it, else float32."""
    if dtype != "auto":
        return dtype
    if device.startswith("cuda"):
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    capabilities = torch.cpu.get_capabilities()
    return "bfloat16" if capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") else "float32"


def run_cell(cell: Cell, request: Request, inputs: Inputs, reporter: Reporter) -> pd.DataFrame:
    """Run one cell: train (if the method trains), encode every text once, score each missing task, write the rows.

    Returns:
        All rows of the run.

    Raises:
        UserError, trainer.TrainingError: see `trainer.train`; nothing is written then.
    """
    old = results.read_run(request.results, cell.run)
    accelerator = Accelerator(cpu=request.device == "cpu", mixed_precision=_MIXED[request.dtype])
    backbone = backbones.load(cell.backbone, pooling=cell.recipe.training.pooling, offline=request.offline)
    backbone.to(accelerator.device)
    history = _train(cell, backbone, inputs, accelerator, reporter) if cell.recipe.trains else trainer.History()
    folds = [inputs.folds[name] for name in cell.tasks]
    embeddings = _encode(cell, backbone, folds, request, reporter)
    scored = list(_score(cell, folds, embeddings, request, reporter))
    rows = pd.DataFrame([row for item in scored for row in _rows(cell, item, request)], columns=list(results.COLUMNS))
    record = _record(cell, backbone, history, scored, request, inputs, old.provenance if old else {})
    return results.add_rows(request.results, cell.run, rows, record)


def _train(
    cell: Cell, backbone: Backbone, inputs: Inputs, accelerator: Accelerator, reporter: Reporter
) -> trainer.History:
    assert cell.seed is not None
    with reporter.bar(f"train {cell.recipe.method}") as update:
        return trainer.train(
            backbone,
            cell.recipe,
            inputs.corpus(cell.corpus),
            cell.seed,
            accelerator,
            lambda step, steps, entry: update(step, steps, f"loss {entry['loss']:.3f}"),
        )


def _encode(cell: Cell, backbone: Backbone, folds: Sequence[Fold], request: Request, reporter: Reporter) -> Embeddings:
    texts = (text for fold in folds for text in evaluators.evaluator(fold.data.family).texts(fold))
    with reporter.bar(f"encode {cell.recipe.method}") as update:
        return encode(
            backbone,
            texts,
            cell.layers,
            max_length=min(cell.recipe.training.max_length, backbone.max_length),
            device=next(backbone.parameters()).device,
            dtype=DTYPES[request.dtype],
            on_batch=lambda done, total: update(done, total, ""),
        )


def _score(
    cell: Cell, folds: Sequence[Fold], embeddings: Embeddings, request: Request, reporter: Reporter
) -> Iterator[Scored]:
    with reporter.bar(f"score {cell.recipe.method}") as update:
        for done, fold in enumerate(folds, start=1):
            start = perf_counter()
            scorer = evaluators.evaluator(fold.data.family)
            budgets = (cell.layers, cell.dims, request.precisions)
            scores = list(scorer.score(fold, embeddings, *budgets, request.protocol))
            yield Scored(fold, scores, perf_counter() - start)
            update(done, len(folds), fold.data.name)


def _rows(cell: Cell, item: Scored, request: Request) -> Iterator[dict[str, Any]]:
    data = item.fold.data
    labels = {"family": data.family, "task": data.name, "split": item.fold.split, "protocol": request.protocol}
    for score in item.scores:
        yield {"run": cell.run, **cell.labels, **labels, **vars(score)}


def _record(
    cell: Cell,
    backbone: Backbone,
    history: trainer.History,
    scored: Sequence[Scored],
    request: Request,
    inputs: Inputs,
    old: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the provenance of a run; what an earlier run scored and this one did not stays."""
    entries = [_entry(cell, item, request, inputs) for item in scored]
    fresh = {tuple(entry[name] for name in UNIT) for entry in entries}
    kept = [entry for entry in old.get("scored", []) if tuple(entry[name] for name in UNIT) not in fresh]
    recipe = cell.recipe
    return {
        "key": cell.key,
        "cell": cell.labels,
        "identity": cell.identity,
        "recipe": {
            "title": recipe.title,
            "source": recipe.source,
            "deviations": recipe.deviations,
            **recipe.identity(),
        },
        "backbone": {
            "source": backbone.source,
            "licence": backbone.licence,
            **vars(backbone.shape),
            **vars(backbone.readout),
        },
        "trained_dims": recipe.nesting.dims if recipe.trains else (),
        "training": {
            "steps": history.steps,
            "seconds": history.seconds,
            "pairs_per_second": history.pairs / history.seconds if history.seconds else 0.0,
            "peak_memory_mb": provenance.peak_memory_mb(),
            "history": history.entries,
        }
        if recipe.trains
        else {},
        "scored": kept + entries,
        "dtype": request.dtype,
        "versions": provenance.versions(),
        "git": provenance.commit(),
        "device": provenance.device(request.device),
        "created": provenance.now(),
    }


def _entry(cell: Cell, item: Scored, request: Request, inputs: Inputs) -> dict[str, Any]:
    """Return what the provenance says of one scored task."""
    data = item.fold.data
    entry: dict[str, Any] = {
        "task": data.name,
        "family": data.family,
        "split": item.fold.split,
        "protocol": request.protocol,
        "digest": data.digest,
        "source": data.source,
        "evaluator_version": evaluators.evaluator(data.family).version,
        "layers": cell.layers,
        "dims": cell.dims,
        "precisions": request.precisions,
        "seconds": item.seconds,
        "notes": (*data.notes, *item.fold.notes),
    }
    if cell.recipe.trains:
        found = leakage.leakage(inputs.corpus(cell.corpus), item.fold)
        entry["leakage"] = {"rows": found.rows, "leaked_rows": found.leaked_rows, "leaked_texts": found.leaked_texts}
    return entry
