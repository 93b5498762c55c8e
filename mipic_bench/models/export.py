"""Write a run as a sentence-transformers folder: the backbone cut to its first layers, vectors cut to a width and normalized.

sentence-transformers truncates (`truncate_dim`) behind its modules, so behind a Normalize, and the vectors would not have
unit length. Here a Dense module without bias, whose matrix is the first rows of the identity, cuts the vectors before
Normalize does its work; that is exact, and every version of the library reads it.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError

from mipic_bench import backbones, posthoc
from mipic_bench.analysis.reproduce import backbone_of
from mipic_bench.backbones import Backbone
from mipic_bench.backbones.loading import quiet
from mipic_bench.backbones.readout import MODES
from mipic_bench.encoding import prompts
from mipic_bench.encoding.prompts import Prompts
from mipic_bench.errors import UserError, unknown
from mipic_bench.models import mapping, model_card
from mipic_bench.posthoc import Affine
from mipic_bench.results import commit
from mipic_bench.results import folder as results
from mipic_bench.results.folder import Store
from mipic_bench.shapes import Shape, require, served
from mipic_bench.training import checkpoint

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

MARK = "mipic_bench.json"  # says, inside an exported folder, which run and budget it is


def export(
    folder: Path,
    run: str,
    layer: int,
    dim: int,
    out: Path,
    *,
    backbone: str | None = None,
    data: Path | None = None,
    offline: bool = False,
) -> Path:
    """Write one budget of a run as a folder that `SentenceTransformer(out)` loads, with a model card.

    Args:
        folder: the results folder that holds the run.
        run: its name, or the beginning of exactly one.
        layer: blocks to keep, 1..depth.
        dim: width to keep, 1..width.
        out: the folder to write; it must not be there, or be empty.
        backbone: where the weights of a run without training are, if they came from a local folder.
        data: a folder of local corpora, where a post-hoc transform that was not kept is fitted again.
        offline: never ask the hub.

    Returns:
        `out`.

    Raises:
        UserError: no such run, no checkpoint of it, a layer or dim that the backbone does not have, the raw readout of a
            pre-norm backbone, a folder that is not empty, a disk that is full, or sentence-transformers is not installed.
    """
    _check_out(out)
    target = Path(os.path.abspath(out))  # "." has no name
    store = results.read(folder)
    name = find_run(store, run, folder)
    record = store.runs[name].provenance
    shape = Shape(record["backbone"]["depth"], record["backbone"]["width"])
    require(shape, record["cell"]["backbone"], [layer], [dim], ("--layer", "--dim"))
    loaded = load(folder, name, record, dim, backbone, offline)
    maps = mapping.cut(loaded.shape.width, dim)
    if "posthoc" in record["recipe"]:
        dims, own = _part(record, dim)
        kept_at = posthoc.place(folder / checkpoint.KEPT / f"{name}{own}")
        transform = mapping.fitted(record, dims, loaded, layer, kept_at, data)
        maps = mapping.as_maps(transform, loaded.shape.width, dim)
    max_length = min(int(record["identity"]["max_length"]), loaded.max_length)
    commit.make(target.parent)  # written beside: a rename within a folder is whole or not at all
    with _beside(target) as scratch:
        written = scratch / "model"
        model = sentence_transformer(loaded, layer, maps, max_length, scratch / "cut")
        if asked := record["identity"].get("prompts"):
            model.prompts.update(prompts.table(Prompts(**asked)))
            model.default_prompt_name = prompts.DOCUMENT
        save(model, written, loaded.lowercase)
        card = model_card.render(store, name, layer, dim, loaded, parameters(model), target.name)
        (written / "README.md").write_text(card, encoding="utf-8")
        mark = {"run": name, "layer": layer, "dim": dim, "cell": record["cell"], "versions": record["versions"]}
        (written / MARK).write_text(json.dumps(mark, indent=1) + "\n", encoding="utf-8")
        commit.move(written, target)
    return out


@contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """Make a folder for a while, on the disk that is to hold the target, and tell when that does not take what is written."""
    try:
        with TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as scratch:
            yield Path(scratch)
    except (OSError, SafetensorError) as error:
        what = f"cannot be written: {getattr(error, 'strerror', None) or error}"
        raise UserError(f"--out {target}", what, "free or choose another disk or folder") from error


def find_run(store: Store, run: str, folder: Path) -> str:
    """Return the full name of a run, given whole or as the beginning of exactly one.

    Raises:
        UserError: no run of that name, or several.
    """
    if run in store.runs:
        return run
    found = [name for name in sorted(store.runs) if name.startswith(run)] if run else []
    if len(found) == 1:
        return found[0]
    if found:
        shown = ", ".join(found[:5]) + (f" and {len(found) - 5} more" if len(found) > 5 else "")
        raise UserError("RUN", f"'{run}' is the beginning of {len(found)} runs: {shown}", "write more of the name")
    cells = {name.rpartition("--")[0] for name in store.runs}  # a guess at the key helps nobody
    raise unknown("run", run, cells, f"RUN in {folder}")


def load(folder: Path, run: str, record: Mapping[str, Any], dim: int, backbone: str | None, offline: bool) -> Backbone:
    """Load the weights of a run: its checkpoint if it trained, else the backbone it scored.

    Args:
        folder: the results folder.
        run: the run's full name.
        record: its provenance.
        dim: the width that is wanted, for runs with one model per width.
        backbone: a name, id or folder to load a run without training from, instead of what the provenance says.
        offline: never ask the hub.

    Raises:
        UserError: the run trained and kept no checkpoint, or the weights found are not those that were scored.
    """
    if record["training"]:
        return _kept(folder, run, record, dim)
    known = record["backbone"]
    spec = backbone or known_backbone(run, record)
    loaded = backbones.load(spec, pooling=known["pooling"], layer_readout=known["layer_readout"], offline=offline)
    scored = record["identity"]["backbone"]["weights"]
    if loaded.weights_digest != scored:
        raise UserError(
            f"backbone {spec}",
            f"its weights have the digest {loaded.weights_digest[:12]}..., the run scored {scored[:12]}...",
            "give the weights that were scored, or run again",
        )
    return loaded


def _kept(folder: Path, run: str, record: Mapping[str, Any], dim: int) -> Backbone:
    """Load the weights that a run kept; with one model per width, those that serve the width."""
    own = _part(record, dim)[1]
    place = folder / checkpoint.KEPT / f"{run}{own}"
    head = checkpoint.kept(place)
    if head is None:
        there = "are damaged: their sha256 is not the recorded one" if place.is_dir() else "were not kept"
        raise UserError(
            f"run {run}{own}", f"its trained weights {there}", "run it again with --keep-checkpoints, then export it"
        )
    return backbones.load(str(place), **head["readout"])


def _part(record: Mapping[str, Any], dim: int) -> tuple[tuple[int, ...], str]:
    """Return the widths of the model that serves a width, and what its files are called after the run's name."""
    widths = tuple(record["recipe"]["dims"])
    if record["recipe"].get("procedure") != "per-dim":
        return widths, ""
    [width] = served(widths, [dim])
    return (width,), f"--d{width}"


def known_backbone(run: str, record: Mapping[str, Any]) -> str:
    """Return what `backbones.load` finds a scored backbone by.

    Raises:
        UserError: it was a local folder, whose path is not recorded.
    """
    found = backbone_of(record)
    if found is None:
        place = record["backbone"]["source"].partition(":")[2]
        what = f"its backbone was the local folder '{place}', whose path is not recorded"
        raise UserError(run, what, "say where it is: --backbone FOLDER")
    return found


def sentence_transformer(
    backbone: Backbone, layer: int, maps: Sequence[Affine], max_length: int, scratch: Path
) -> "SentenceTransformer":
    """Build the sentence-transformers model of one budget, on the CPU in float32.

    Args:
        backbone: the weights and how they are read out.
        layer: blocks to keep.
        maps: what is done to the pooled vector: `mapping.cut`, or a transform.
        max_length: tokens kept of a text.
        scratch: a folder to write the cut transformer to; it must stay while the model is in use.

    Returns:
        A model whose `encode` gives that layer's readout, mapped and at unit length.

    Raises:
        UserError: the raw readout of a pre-norm backbone below its last layer; sentence-transformers is missing.
    """
    cut: Any = backbone.cut(layer)
    cut = _with_pooler(cut.float())
    try:
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.base.modules import Dense, Normalize, Transformer
        from sentence_transformers.sentence_transformer.modules import Pooling
    except ImportError as error:
        raise UserError(
            "export", f"needs sentence-transformers 6 or newer: {error}", "pip install 'mipic-bench[export]'"
        ) from error
    tokenizer = backbone.tokenizer
    padding = tokenizer.padding_side, tokenizer.pad_token
    with quiet(), torch.random.fork_rng(devices=[]):
        cut.save_pretrained(scratch)
        # rows are padded as in training and scoring; a model with absolute positions would differ otherwise
        filler = tokenizer.pad_token or tokenizer.eos_token or tokenizer.convert_ids_to_tokens(backbone.pad_id)
        tokenizer.padding_side, tokenizer.pad_token = "right", filler
        tokenizer.save_pretrained(scratch)
        tokenizer.padding_side, tokenizer.pad_token = padding
        modules: list[torch.nn.Module] = [
            Transformer(str(scratch), max_seq_length=max_length, do_lower_case=backbone.lowercase),
            Pooling(backbone.shape.width, MODES[backbone.readout.pooling]),
            *(_dense(Dense, one) for one in maps),
        ]
        return SentenceTransformer(modules=[*modules, Normalize()], similarity_fn_name="cosine", device="cpu")


def save(model: "SentenceTransformer", folder: Path, lowercase: bool) -> None:
    """Write a model's files; that it lowercases texts is added, for sentence-transformers reads it and does not write it."""
    with quiet():
        model.save(str(folder), create_model_card=False)
    for path in folder.rglob("sentence_bert_config.json") if lowercase else ():
        told = json.loads(path.read_text(encoding="utf-8")) | {"do_lower_case": True}
        path.write_text(json.dumps(told, indent=4) + "\n", encoding="utf-8")


def _dense(module: Any, one: Affine) -> torch.nn.Module:
    """Return a map as a module of sentence-transformers."""
    built: torch.nn.Module = module(
        one.weight.shape[1],
        one.weight.shape[0],
        bias=one.bias is not None,
        activation_function=torch.nn.ReLU() if one.relu else torch.nn.Identity(),
        init_weight=torch.from_numpy(one.weight),
        init_bias=None if one.bias is None else torch.from_numpy(one.bias),
    )
    return built


def parameters(model: torch.nn.Module) -> int:
    """Return the number of parameters of a model."""
    return sum(weight.numel() for weight in model.parameters())


def _with_pooler(model: Any) -> Any:
    """Put zeros where the class has a pooler and the model has none: unused, but a load without it would complain."""
    if getattr(model, "pooler", None) is not None:
        return model
    with torch.device("meta"):
        pooler = getattr(type(model)(model.config), "pooler", None)
    if pooler is None:
        return model
    model.pooler = pooler.to_empty(device="cpu")
    with torch.no_grad():
        for weight in model.pooler.parameters():
            weight.zero_()
    return model


def _check_out(out: Path) -> None:
    """Refuse to write over anything."""
    if out.is_dir() and not any(out.iterdir()):
        return
    if out.exists():
        raise UserError(f"--out {out}", "is there already and not empty", "name a new folder, or remove this one first")
