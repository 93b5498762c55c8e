"""Fingerprints of a backbone's files: the weights' content, the weights file itself, and the tokenizer."""

import hashlib
import json
import mmap
import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from mipic_bench.errors import UserError, listed, readable

_VOCABULARIES = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "sentencepiece.bpe.model",
    "spiece.model",
    "tokenizer.model",
)
_TOKENIZER_SETTINGS = ("merges.txt", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
_SAYS_NOTHING = (
    "_name_or_path",
    "architectures",
    "dtype",
    "torch_dtype",
    "transformers_version",
)  # of the numbers, in config.json


def weight_files(folder: Path, where: str = "backbone") -> list[Path]:
    """Return the safetensors files of a model folder.

    Args:
        folder: of the model.
        where: named in errors.

    Raises:
        UserError: there are none, or not all that the index names; weights in other formats are refused, because they
            are pickles.
    """
    if (index := folder / "model.safetensors.index.json").is_file():
        return _shards(index, where)
    if (single := folder / "model.safetensors").is_file():
        return [single]
    others = ", ".join(sorted(path.name for path in folder.glob("*.bin")))
    if not others and not (folder / "config.json").is_file():
        what = f"{folder.name} holds no model: there is neither config.json nor model.safetensors"
        raise UserError(where, what, "name a folder that save_pretrained wrote, or that `mipic-bench export` did")
    raise UserError(
        where,
        f"there is no model.safetensors{f', only {others}' if others else ''}; other formats are pickles, which can run code when"
        " they are read",
        "convert it once, where you trust it: AutoModel.from_pretrained(ID).save_pretrained(FOLDER), its tokenizer too, then"
        " name FOLDER; or name a revision of the hub that carries safetensors: ID@REVISION",
    )


def _shards(index: Path, where: str) -> list[Path]:
    """Return the files that an index names, each once."""
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        files = [index.parent / name for name in names]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        what = f"{index.name} is not an index of weights: {type(error).__name__}: {error}"
        raise UserError(where, what, "download it again") from None
    if lacking := [path.name for path in files if not path.is_file()]:
        what = f"{len(lacking)} of {len(files)} files named in {index.name} are missing: {listed(lacking)}"
        raise UserError(where, what, "download it again")
    return files


def weights_digest(folder: Path, verify: bool = False, where: str = "backbone") -> str:
    """Return the sha256 over the names, types, shapes and bytes of every tensor in a folder's weights.

    It does not depend on how the tensors are spread over files, nor on a file's metadata. It is remembered by path, size
    and time of change; `verify` computes it anew all the same.
    """
    total = hashlib.sha256()
    read = partial(_tensor_lines, where=where)
    with readable(where):
        files = weight_files(folder, where)
        lines = sorted(line for path in files for line in remembered("content", path, read, verify))
    for line in lines:
        total.update(line.encode())
    return total.hexdigest()


def config_digest(folder: Path, where: str = "backbone") -> str:
    """Return the sha256 of what a folder's config.json says of the computation: activation, heads, dropout; empty without one.

    Raises:
        UserError: the file is no JSON object.
    """
    path = folder / "config.json"
    if not path.is_file():
        return ""  # loading says so
    try:
        config = dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise UserError(where, f"{path} cannot be read: {error}", "download or save the model again") from error
    kept = {key: value for key, value in config.items() if key not in _SAYS_NOTHING}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def file_digest(path: Path, verify: bool = False) -> str:
    """Return the sha256 of a file, remembered as `weights_digest` is."""
    digest: str = remembered("file", path, file_sha256, verify)
    return digest


def tokenizer_digest(folder: Path, where: str = "backbone", lowercase: bool = False) -> str:
    """Return the sha256 over the names and bytes of the files that a tokenizer is built from.

    Args:
        folder: holds them.
        where: what errors call it.
        lowercase: whether it is told to lowercase texts first.

    Raises:
        UserError: none of them holds a vocabulary.
    """
    present = [folder / name for name in (*_VOCABULARIES, *_TOKENIZER_SETTINGS) if (folder / name).is_file()]
    if not present or present[0].name not in _VOCABULARIES:
        raise UserError(
            where,
            f"the folder holds no tokenizer, none of {', '.join(_VOCABULARIES)}",
            "save the tokenizer beside the model: tokenizer.save_pretrained(FOLDER)",
        )
    with readable(where):
        lines = [f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n" for path in present]
    return hashlib.sha256("".join([*lines, *(["lowercased\n"] if lowercase else [])]).encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file, read anew.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _tensor_lines(path: Path, where: str) -> list[str]:
    """Return "name type shape sha256" of every tensor in a safetensors file (8 bytes of length, a JSON header, the bytes)."""
    if not path.stat().st_size:  # an empty file cannot be mapped
        _header(b"", path.name, where)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        start = 8 + int.from_bytes(data[:8], "little")
        header = _header(data[8:start], path.name, where)
        view = memoryview(data)
        try:
            return [
                f"{name} {tensor['dtype']} {tensor['shape']} {_slice_sha256(view, start, tensor['data_offsets'])}\n"
                for name, tensor in header.items()
                if name != "__metadata__"
            ]
        finally:
            view.release()


def _header(text: bytes, name: str, where: str) -> dict[str, Any]:
    try:
        header = json.loads(text)
    except ValueError as error:
        raise UserError(
            where,
            f"{name} is not a safetensors file, or is damaged",
            "fetch it again; a file of a few hundred bytes is a pointer of git lfs: run git lfs pull",
        ) from error
    if not isinstance(header, dict):
        raise UserError(where, f"the head of {name} is no table", "fetch it again")
    return header


def _slice_sha256(view: memoryview, start: int, offsets: list[int]) -> str:
    with view[start + offsets[0] : start + offsets[1]] as part:
        return hashlib.sha256(part).hexdigest()


def _memory() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mipic-bench" / "digests.json"


def remembered(kind: str, path: Path, compute: Callable[[Path], Any], verify: bool = False) -> Any:
    """Return what was computed for this very file before, else compute and remember it.

    A file is the same when path, size, and times of writing and of change are; the last changes even when a copy keeps
    the old time of writing. A memory that cannot be read or written is done without.
    """
    state = path.stat()
    key = f"{kind} {path.resolve()}"
    stamp = [state.st_size, state.st_mtime_ns, state.st_ctime_ns]
    known = _read_memory()
    if not verify and isinstance(entry := known.get(key), dict) and entry.get("stamp") == stamp:
        return entry["value"]
    value = compute(path)
    _write_memory({**_read_memory(), key: {"stamp": stamp, "value": value}})
    return value


def _read_memory() -> dict[str, Any]:
    try:
        known = json.loads(_memory().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _write_memory(known: dict[str, Any]) -> None:
    target = _memory()
    temporary = target.with_suffix(f".{os.getpid()}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(known), encoding="utf-8")
        os.replace(temporary, target)
    except OSError:
        with suppress(OSError):
            temporary.unlink()
