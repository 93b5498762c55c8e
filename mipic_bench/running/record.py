"""The provenance of a run: what it was made with, and what was scored in it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mipic_bench import official
from mipic_bench.backbones import Backbone
from mipic_bench.evaluators import Score
from mipic_bench.planning import leakage
from mipic_bench.planning.request import Cell, Inputs, Request
from mipic_bench.results.folder import holds, joined_entry, joined_training, unit_of
from mipic_bench.running import environment
from mipic_bench.tasks import Fold

RETRAINED = "scored on a second training of the run: other rows of it are of weights that are not bit for bit these"

_MADE_WITH = ("versions", "git", "device", "created", "study")


@dataclass(frozen=True)
class Scored:
    """The scores of one task, and what is written about them."""

    fold: Fold
    scores: Sequence[Score]
    seconds: float
    notes: Sequence[str]


def record_of(
    cell: Cell,
    backbone: Backbone,
    training: Mapping[str, Any],
    scored: Sequence[Scored],
    request: Request,
    inputs: Inputs,
) -> dict[str, Any]:
    """Return the provenance of a run, as if it had been made in one piece.

    Args:
        cell: what was run.
        backbone: what it was run on.
        training: steps, seconds, losses, the weights' digest; empty for a method without training.
        scored: one per task.
        request: for dtype, device, protocol and precisions.
        inputs: for the corpus, whose overlap with each task is counted.
    """
    recipe = cell.recipe
    told = {"title": recipe.title, "source": recipe.source, "deviations": recipe.deviations}
    known = {"name": backbone.name, "source": backbone.source, "licence": backbone.licence}
    return {
        "key": cell.key,
        "cell": cell.labels,
        "identity": cell.identity,
        "recipe": {**told, **recipe.identity()},
        **({"corpus_source": inputs.corpus(cell.corpus_asked).source} if cell.corpus else {}),
        "backbone": {**known, **vars(backbone.shape), **vars(backbone.readout)},
        "trained_dims": recipe.nesting.dims if recipe.trains else (),
        "training": training,
        "scored": [_entry(cell, item, request, inputs, training) for item in scored],
        "dtype": request.dtype,
        "versions": environment.versions(),
        "git": environment.commit(),
        "device": environment.device(request.device),
        "created": environment.now(),
        **({"study": request.study} if request.study else {}),
    }


def _entry(cell: Cell, item: Scored, request: Request, inputs: Inputs, training: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the provenance says of one scored task."""
    data = item.fold.data
    entry: dict[str, Any] = {
        "task": data.name,
        "family": data.family,
        "split": item.fold.split,
        "protocol": inputs.protocol_of(item.fold),
        "digest": data.digest,
        "rows": len(item.fold.score),
        "source": data.source,
        "evaluator_version": official.scorer(item.fold).version,
        "layers": cell.layers,
        "dims": cell.dims,
        "precisions": request.stored,
        "seconds": item.seconds,
        "notes": (*data.notes, *item.fold.notes, *item.notes),
    }
    if cell.corpus:
        found = leakage.leakage(inputs.corpus(cell.corpus_asked), inputs.whole[data.name])
        entry["leakage"] = found.counts()
    if cell.recipe.trains:
        entry |= {name: training[name] for name in ("weights", "weights_by_dim") if name in training}
    return entry


def together(trainings: Sequence[dict[str, Any]], widths: Sequence[int | None]) -> dict[str, Any]:
    """Return the record of several trainings, one per width, as one: steps and seconds add up, steps go on counting."""
    if len(trainings) == 1 and widths[0] is None:
        return trainings[0]
    history: list[dict[str, Any]] = []
    done = 0
    for training, width in zip(trainings, widths, strict=True):
        history += [{**entry, "step": done + entry["step"], "dim": width} for entry in training["history"]]
        done += training["steps"]
    seconds = sum(training["seconds"] for training in trainings)
    pairs = sum(training["pairs_per_second"] * training["seconds"] for training in trainings)
    return {
        "steps": done,
        "seconds": seconds,
        "pairs_per_second": pairs / seconds if seconds else 0.0,
        "memory_mb": max((size for training in trainings if (size := training["memory_mb"])), default=None),
        "weights": "one model per width",
        "weights_by_dim": {str(width): training["weights"] for training, width in zip(trainings, widths, strict=True)},
        "history": history,
    }


def joined(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return the provenance of a run that was added to: every task that was ever scored, at all its budgets.

    What made it is that of the last addition; where that is another than before, `earlier` has those before.
    """
    # runs of earlier versions have the weights of each width in their training alone
    told = {name: value for name, value in old["training"].items() if name == "weights_by_dim"}
    entries = {unit_of(entry): {**told, **entry} for entry in old["scored"]}
    fresh = {unit_of(entry): entry for entry in new["scored"]}
    kept = {unit: entry for unit, entry in entries.items() if holds(entry, fresh.get(unit))}
    for unit, entry in fresh.items():
        if any(_other_weights(entry, before) for before in kept.values()):
            entry = {**entry, "notes": [*entry["notes"], RETRAINED]}
        entries[unit] = joined_entry(kept[unit], entry) if unit in kept else entry
    slower = max(old.get("scoring_seconds") or 0.0, new["scoring_seconds"])
    training = joined_training(old["training"], new["training"])
    earlier = [*old.get("earlier", ())]
    if any(old.get(name) != new.get(name) for name in ("versions", "git", "device")):
        earlier.append({name: old[name] for name in _MADE_WITH if name in old})
    made = {**new, **({"earlier": earlier} if earlier else {})}
    return {**made, "training": training, "scored": list(entries.values()), "scoring_seconds": slower}


def _other_weights(entry: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    """Say whether two tasks were scored on different weights: of the run, or of a width that both have a model for."""
    now, then = (one.get("weights_by_dim") or {"": one.get("weights")} for one in (entry, before))
    return any(now[width] != then[width] for width in now.keys() & then.keys())
