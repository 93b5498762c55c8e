"""Scoring a model as it is: a hub id, a folder, an exported budget, or the weights that a run kept."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mipic_bench import backbones, posthoc
from mipic_bench.analysis.reproduce import corpus_of
from mipic_bench.backbones.cards import Card
from mipic_bench.backbones.folder import prompts as prompts_of
from mipic_bench.backbones.loading import quiet
from mipic_bench.backbones.sources import ENTRIES, locate
from mipic_bench.encoding import prompts
from mipic_bench.encoding.prompts import Prompts
from mipic_bench.errors import UserError
from mipic_bench.models import export
from mipic_bench.planning.asking import ask
from mipic_bench.planning.changes import difference
from mipic_bench.planning.plan import plan
from mipic_bench.planning.request import Cell, Inputs, Request
from mipic_bench.recipes.methods import catalog
from mipic_bench.results import folder as results
from mipic_bench.shapes import default_dims
from mipic_bench.training import checkpoint


def evaluation(
    model: str,
    *,
    name: str | None = None,
    prompt: str | None = None,
    query_prompt: str | None = None,
    pooling: str | None = None,
    **asked: Any,
) -> tuple[Request, Inputs, list[Cell]]:
    """Return the request, its inputs and its one cell that score a model without training it.

    Args:
        model: a run of the results folder (its name, or the beginning of it), else whatever `backbones.load` takes.
        name: what the model is called in rows; its own name if None.
        prompt: what stands before every text: a name in the model's own table of prompts, or the text itself.
        query_prompt: the same, before the queries of retrieval tasks; "" for none there where other texts have one.
        pooling: "cls", "mean" or "last"; the model's own if None.
        asked: what is scored and how, as `ask` takes it.

    Raises:
        UserError: nothing of that name; a run whose weights were not kept, or that cannot be asked for again.
    """
    offline, folder = bool(asked.get("offline", False)), Path(asked.get("results", "results"))
    run = run_meant(model, folder)
    if run is not None:
        length = (asked.get("training") or {}).get("max_length")
        if name or prompt or query_prompt or pooling or length or asked.get("dtype", "auto") != "auto":
            what = "a run keeps its name, pooling, prompts, length of texts and arithmetic"
            raise UserError(f"MODEL {run}", what, _weights_instead(run, folder, "leave these options out"))
        return _of_run(run, folder, asked)
    place = locate(model, offline).folder if model != "tiny" else None  # built in code
    before = _prompts(place, prompt, query_prompt)
    loaded = backbones.card(model, pooling=pooling, offline=offline, verify=bool(asked.get("verify", False)))
    own = loaded.name + (f"+{_called(prompt)}" if prompt else "")
    own += "" if before.query is None else f"+query-{_called(query_prompt or '')}"
    _refuse_untransformed(place)
    _refuse_unmapped(place, loaded.unapplied)
    asked["dims"] = own_dims(asked.get("dims"), loaded)
    training = {"pooling": pooling, **(asked.pop("training", None) or {})}
    request = ask(
        ["pretrained"], backbones=[model], names={model: name or own}, prompts=before, training=training, **asked
    )
    inputs = Inputs(request)
    return request, inputs, plan(request, inputs)


def saved(model: Any, name: str | None, scratch: Path) -> Path:
    """Save a model in memory, so that it is read as any other.

    Raises:
        UserError: it is no SentenceTransformer, or rows have nothing to call it by.
    """
    if not hasattr(model, "save_pretrained") or not hasattr(model, "tokenizer"):
        what = f"a {type(model).__name__} is no name, folder or SentenceTransformer"
        raise UserError("model", what, "give one of those")
    if name is None:
        raise UserError("model", "a model in memory has no name", "say what rows are to call it: name='mine'")
    with quiet():
        model.save_pretrained(str(scratch / "model"))
    return scratch / "model"


def notes(request: Request, inputs: Inputs, cells: Sequence[Cell]) -> list[str]:
    """Return what the user should know: what the model's folder asks for and is not done, and notes on the data."""
    return [*model_notes(request, inputs, cells), *inputs.notes(cells)]


def model_notes(request: Request, inputs: Inputs, cells: Sequence[Cell]) -> list[str]:
    """Return what the model's folder asks for and is not done."""
    training = cells[0].recipe.training
    card = inputs.backbone(request.backbones[0], training.pooling)
    told = [note for note in dict.fromkeys(card.notes) if not (request.prompts and "prompts" in note)]
    if card.own_length is not None and card.own_length < training.max_length:
        own = f"by itself it reads {card.own_length} tokens of a text"
        told.append(f"{own}, {training.max_length} are read here: --max-length {card.own_length} does as it does")
    return [f"{cells[0].backbone_name}: {note}" for note in told]


def run_meant(model: str, folder: Path) -> str | None:
    """Return the run that is meant; None when it is a model: every path of a folder, and every name without "--"."""
    if model in ENTRIES or os.path.isdir(model) or "/" in model or "--" not in model:
        return None
    return export.find_run(results.read(folder), model, folder)


def _of_run(run: str, folder: Path, asked: dict[str, Any]) -> tuple[Request, Inputs, list[Cell]]:
    """Ask for a finished run again, with what is to be scored now; its weights must be there."""
    record = results.read(folder).runs[run].provenance
    cell, identity = record["cell"], record["identity"]
    if cell["base_method"] not in catalog():
        what = f"its recipe {cell['base_method']}.toml is a file of its own, and runs are asked for again by recipes that are shipped"
        raise UserError(f"run {run}", what, _weights_instead(run, folder, "score it in the command that runs it"))
    spec = export.known_backbone(run, record)
    again: dict[str, Any] = {
        "backbones": [spec],
        "names": {spec: cell["backbone"]},
        "corpora": [corpus_of(record)] if cell["corpus"] else [],
        "seeds": (int(cell["seed"]),) if cell["seed"] else (0,),
        "training": _training(record),
        "dtype": identity["dtype"],
        "prompts": Prompts(**identity.get("prompts", {})),
    }
    request = ask([cell["method"]], **{**asked, **again})
    inputs = Inputs(request)
    cells = plan(request, inputs)
    if [one.run for one in cells] != [run]:
        changed = difference(identity, cells[0].identity) or "its name is another one"
        raise UserError(f"run {run}", f"cannot be asked for again: {changed}", "run the method anew")
    missing = [part.folder for part in cells[0].parts if record["training"] and not _kept(folder, part)]
    if missing:
        raise UserError(
            f"run {missing[0]}", "its trained weights were not kept", "run it again with --keep-checkpoints"
        )
    return request, inputs, cells


def _kept(folder: Path, part: Cell) -> bool:
    return checkpoint.kept(folder / checkpoint.KEPT / part.folder) is not None


def _training(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the training settings of a run, to be put above the recipe's own."""
    settings = record["recipe"].get("training")
    return (
        dict(settings)
        if settings
        else {"pooling": record["recipe"].get("pooling"), "max_length": record["identity"]["max_length"]}
    )


def _prompts(place: Path | None, prompt: str | None, query_prompt: str | None) -> Prompts:
    """Return the prompts that are meant; an empty one for queries stands where all other texts have one."""
    known = prompts_of(place) if place else {}
    every = prompts.find(prompt, known, "--prompt") if prompt else ""
    if not query_prompt:
        return Prompts(every, "" if every and query_prompt is not None else None)
    return Prompts(every, prompts.find(query_prompt, known, "--query-prompt"))


def _called(prompt: str) -> str:
    """Return what a prompt is called in a model's name."""
    return prompt if prompt.isidentifier() else prompts.short(prompt)


def _weights_instead(run: str, folder: Path, otherwise: str) -> str:
    """Return the advice to give the folder of a run's weights, where one folder is all that the run is."""
    place = folder / checkpoint.KEPT / run
    recipe = results.read(folder).runs[run].provenance.get("recipe", {})
    alone = place.is_dir() and "posthoc" not in recipe
    return f"give the folder of its weights: {place}" if alone else otherwise


def _refuse_untransformed(place: Path | None) -> None:
    """Refuse the weights that a run with a transform kept: without it their vectors are not those of the run.

    Raises:
        UserError: the transform is kept beside them, or they say that there was one.
    """
    if place is None:
        return
    head = checkpoint.said(place)
    if head.get("transform") or posthoc.place(place).is_file():
        what = f"these are the weights of the run {head.get('run', place.name)} without its transform"
        raise UserError(f"MODEL {place}", what, "score the run itself: give its name, and --results")


def own_dims(asked: Sequence[int] | None, card: Card) -> Sequence[int] | None:
    """Return the widths to look at of a model: those asked for, else the default ones of a model that cuts its vectors.

    Raises:
        UserError: one is wider than the model cuts its vectors to.
    """
    if card.own_width is None:
        return asked
    if wider := [dim for dim in asked or () if dim > card.own_width]:
        what = f"dim {wider[-1]} was asked for, and {card.name} cuts its vectors to {card.own_width}"
        raise UserError("--dims", what, "ask for no wider ones")
    return asked or default_dims(card.own_width)


def _refuse_unmapped(place: Path | None, unapplied: Sequence[str]) -> None:
    """Refuse an exported budget with a transform: modules behind the pooling are not applied here.

    Raises:
        UserError: it is one, or its mark cannot be read.
    """
    mark = place / export.MARK if place else None
    if mark is None or not mark.is_file() or not unapplied:
        return
    try:
        run = json.loads(mark.read_text(encoding="utf-8"))["run"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(str(mark), f"is damaged: {error}", "export the run again") from error
    what = f"it is the run {run} with its transform, and modules after the pooling are not applied here"
    raise UserError(f"MODEL {place}", what, f"score the run: mipic-bench evaluate {run} --results FOLDER")
