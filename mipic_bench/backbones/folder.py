"""What a sentence-transformers folder says about how its transformer is read out."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mipic_bench.backbones.readout import FLAGS, MODES, POOLINGS
from mipic_bench.errors import UserError, readable

_POOLING = {told: pooling for names in (MODES, FLAGS) for pooling, told in names.items()}
_FETCH = "download it again, or save the model again"
_UNDERSTOOD = ("Transformer", "Pooling", "Normalize", "Dropout")


@dataclass(frozen=True)
class Folder:
    """A model folder.

    Attributes:
        transformer: the folder of the transformer itself, often the same.
        pooling_modes: as the folder names them; none when it is a bare transformer.
        notes: what the folder asks for that is not done here.
        unapplied: kinds of modules behind the pooling that change its vectors and are not applied here.
        own_length: tokens that sentence-transformers keeps of a text, where the folder says fewer than its model could read.
        own_width: coordinates that its vectors are cut to; None where they are not cut.
        lowercase: whether texts are lowercased before the tokenizer does anything.
    """

    transformer: Path
    pooling_modes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    unapplied: tuple[str, ...] = ()
    own_length: int | None = None
    own_width: int | None = None
    lowercase: bool = False

    def pooling(self) -> str | None:
        """Return the folder's own pooling, None when it names none.

        Raises:
            UserError: it is not one of those known here.
        """
        if not self.pooling_modes:
            return None
        if len(self.pooling_modes) == 1 and self.pooling_modes[0] in _POOLING:
            return _POOLING[self.pooling_modes[0]]
        raise UserError(
            f"backbone {self.transformer.name}",
            f"its own pooling is {' + '.join(self.pooling_modes)}; known here are {', '.join(POOLINGS)}",
            "choose one of those: --set 'training.pooling = \"mean\"', or with evaluate --pooling mean",
        )


def read(folder: Path) -> Folder:
    """Read `modules.json` and what it points to; a folder without it is a bare transformer.

    Raises:
        UserError: one of these files is broken.
    """
    kinds = _modules(folder)
    transformer = next((path for kind, path in kinds if kind == "Transformer"), folder)
    pooling = next((path for kind, path in kinds if kind == "Pooling"), folder / "1_Pooling")
    cuts = {path: cut for kind, path in kinds if kind == "Dense" and (cut := _cut(path))}
    unapplied = tuple(kind for kind, path in kinds if kind not in _UNDERSTOOD and path not in cuts)
    notes = [f"its {kind} module is not applied: scored is what its pooling gives" for kind in unapplied]
    if own := sorted(prompts(folder)):
        notes.append(f"its own prompts ({', '.join(own)}) are not added to texts")
    modes = _pooling_modes(_json(pooling / "config.json", {}))
    settings = _json(transformer / "sentence_bert_config.json", {})
    length, lowercase = _own_length(transformer, settings.get("max_seq_length")), bool(settings.get("do_lower_case"))
    return Folder(transformer, modes, tuple(notes), unapplied, length, min(cuts.values(), default=None), lowercase)


def _own_length(transformer: Path, own: object) -> int | None:
    places = (("config.json", "max_position_embeddings"), ("tokenizer_config.json", "model_max_length"))
    able = [_json(transformer / file, {}).get(key) for file, key in places]
    return own if isinstance(own, int) and all(own < most for most in able if isinstance(most, int | float)) else None


def _cut(dense: Path) -> int:
    """Return how many coordinates a Dense module keeps that only keeps the first ones, as an exported cut's does; else 0.

    Raises:
        UserError: its weights are damaged.
    """
    config, weights = _json(dense / "config.json", {}), dense / "model.safetensors"
    if config.get("bias") or not str(config.get("activation_function")).endswith("Identity") or not weights.is_file():
        return 0
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file  # numpy knows no bfloat16

    try:
        with readable(str(weights)):
            weight = load_file(weights).get("linear.weight")
    except SafetensorError as error:
        raise UserError(str(weights), f"is damaged: {error}", _FETCH) from None
    if weight is None or weight.ndim != 2 or len(weight) > weight.shape[1]:
        return 0
    return len(weight) if torch.equal(weight, torch.eye(*weight.shape, dtype=weight.dtype)) else 0


def _modules(folder: Path) -> list[tuple[str, Path]]:
    """Return the kind and the folder of each module of `modules.json`."""
    path = folder / "modules.json"
    modules = _json(path, [])
    try:
        return [(module["type"].rpartition(".")[2], folder / module["path"]) for module in modules]
    except (KeyError, TypeError, AttributeError):
        raise UserError(str(path), "a module in it has no type or no path", _FETCH) from None


def prompts(folder: Path) -> dict[str, str]:
    """Return the prompts that a sentence-transformers folder names, name -> text; those without a text are left out."""
    path = folder / "config_sentence_transformers.json"
    found = _json(path, {}).get("prompts") or {}
    if not isinstance(found, dict):
        raise UserError(str(path), f"prompts is a {type(found).__name__}, a dict is due", _FETCH)
    return {str(name): str(text) for name, text in found.items() if text}


def _pooling_modes(config: dict[str, Any]) -> tuple[str, ...]:
    named = config.get("pooling_mode")
    if named is not None:
        return (named,) if isinstance(named, str) else tuple(named)
    return tuple(key for key, on in config.items() if key.startswith("pooling_mode_") and on is True)


def _json(path: Path, default: Any) -> Any:
    """Return what a file holds, of the default's kind; the default when there is no such file.

    Raises:
        UserError: it is not JSON, or of another kind; it cannot be read.
    """
    try:
        with readable(str(path)):
            if not path.is_file():
                return default
            found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # of JSON or of UTF-8; both tell the position
        raise UserError(str(path), f"not JSON: {error}", _FETCH) from None
    if not isinstance(found, type(default)):
        what = f"it holds a {type(found).__name__}, a {type(default).__name__} is due"
        raise UserError(str(path), what, _FETCH)
    return found
