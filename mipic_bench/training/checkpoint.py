"""Checkpoints of our own: tensors and generator states in safetensors, the rest in JSON; whole or not at all.

Two kinds. An unfinished training writes `<results>/unfinished/<run>/training.json`, which names a file of tensors beside
it (weights, optimizer, generators): the JSON is the commit mark, the tensors of the step before stay until it stands.
A finished run may keep its weights: `<results>/checkpoints/<run>/` is a model folder that `backbones.load` reads.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from mipic_bench.backbones.digests import file_sha256
from mipic_bench.backbones.loading import quiet
from mipic_bench.backbones.readout import FLAGS
from mipic_bench.errors import UserError
from mipic_bench.results import commit

if TYPE_CHECKING:
    from mipic_bench.backbones import Backbone

FORMAT = 1  # of kept weights
TRAINING_FORMAT = 2  # of an unfinished training; 2: the embedding table holds the rows in use
UNFINISHED, KEPT = "unfinished", "checkpoints"
MARK, KEPT_MARK = "training.json", "checkpoint.json"
_SHARE = 20  # writing takes at most one part in so many of the time

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Saved:
    """What a checkpoint holds: tensors by name, and plain data."""

    tensors: Tensors
    record: dict[str, Any]


def write(folder: Path, tensors: Mapping[str, torch.Tensor], record: Mapping[str, Any]) -> None:
    """Write a checkpoint into a folder; the one that was there counts until the new one is whole.

    Raises:
        UserError: the folder or the disk does not take it.
    """
    token = hashlib.sha256(os.urandom(16)).hexdigest()[:8]
    path = folder / f"{token}.safetensors"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(_separate(tensors), path)
        _sync(path)
        head = {"format": TRAINING_FORMAT, "tensors": path.name, "sha256": file_sha256(path), "record": dict(record)}
        commit.write(folder / MARK, json.dumps(head, ensure_ascii=False).encode())
    except (OSError, SafetensorError, UserError) as error:
        with suppress(OSError):
            path.unlink()
        what = error.what if isinstance(error, UserError) else f"cannot be written: {error}"
        raise UserError(str(folder), what, "free or choose another disk; the checkpoint before still stands") from error
    for other in folder.glob("*.safetensors"):
        if other != path:
            other.unlink()


def read(folder: Path) -> Saved | None:
    """Return the checkpoint of a folder; None when there is none, or it was cut off, edited or is of another format."""
    head = peek(folder)
    if head is None:
        return None
    path = folder / str(head["tensors"])
    try:
        if file_sha256(path) != head["sha256"]:
            return None
        return Saved(load_file(path), head["record"])
    except (OSError, SafetensorError):
        return None


def peek(folder: Path) -> dict[str, Any] | None:
    """Return the JSON of a checkpoint without its tensors; None when there is none of this format."""
    try:
        head = json.loads((folder / MARK).read_bytes())
    except (OSError, ValueError):
        return None
    whole = (
        isinstance(head, dict)
        and head.get("format") == TRAINING_FORMAT
        and {"tensors", "sha256", "record"} <= set(head)
    )
    return head if whole and Path(str(head["tensors"])).name == head["tensors"] else None


def remove(folder: Path, older_than: float | None = None) -> None:
    """Take a checkpoint away, its mark first, so that no half of it is ever read.

    Args:
        folder: of the checkpoint.
        older_than: leave one that was written after this time, as the file system has it.
    """
    if older_than is not None:
        try:
            if (folder / MARK).stat().st_mtime > older_than:
                return
        except OSError:  # no mark: what is there is no checkpoint
            pass
    (folder / MARK).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def capture(model: torch.nn.Module, optimizer: Any) -> Tensors:
    """Return all tensors that decide how training goes on: weights, optimizer state, and torch's global generators.

    Our own generators are derived from seed, epoch and step; dropout inside transformers draws from the global ones.
    """
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    for place, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{place}.{name}": value for name, value in state.items()}
    tensors["generator.cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors |= {f"generator.cuda.{n}": value for n, value in enumerate(torch.cuda.get_rng_state_all())}
    return tensors


def fits(tensors: Tensors, model: torch.nn.Module) -> bool:
    """Say whether captured weights have the names and shapes of a model's."""
    theirs = {name: value.shape for name, value in _under("model.", tensors).items()}
    return theirs == {name: value.shape for name, value in model.state_dict().items()}


def restore(tensors: Tensors, model: torch.nn.Module, optimizer: Any) -> None:
    """Put captured tensors back."""
    model.load_state_dict(_under("model.", tensors))
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in _under("optimizer.", tensors).items():
        place, _, name = key.partition(".")
        state.setdefault(int(place), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    torch.set_rng_state(tensors["generator.cpu"])
    cards = _under("generator.cuda.", tensors)
    if len(cards) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([cards[str(n)] for n in range(len(cards))])


class Saver:
    """Writes a training's checkpoint every so often, and gives the last one back.

    Args:
        folder: of this training alone.
        every: seconds between two checkpoints; stretched where writing one would take more than a twentieth of the time;
            0 for one after every step.
        stopping: asked after each step; True makes a checkpoint due at once.
        warn: told when one could not be written or read; training goes on.
    """

    def __init__(
        self,
        folder: Path,
        every: float = 60.0,
        stopping: Callable[[], bool] = lambda: False,
        warn: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.folder, self.every, self.stopping, self.warn = folder, every, stopping, warn
        self._last = monotonic()
        self._cost = 0.0

    def resume(self, model: torch.nn.Module, optimizer: Any, scaler: Any = None) -> dict[str, Any] | None:
        """Put the last checkpoint's tensors back and return its record; None when there is none to go on from."""
        saved = read(self.folder)
        if saved is None:
            if self.folder.is_dir() and any(self.folder.iterdir()):
                self.warn(f"the checkpoint in {self.folder} is damaged or of another version: training starts anew")
            return None
        if not fits(
            saved.tensors, model
        ):  # on the CPU only the used rows of the embedding table are trained, elsewhere all
            self.warn(
                f"the checkpoint in {self.folder} is of another kind of device or tokenizer: training starts anew"
            )
            return None
        restore(saved.tensors, model, optimizer)
        if scaler is not None and "scaler" in saved.record:
            scaler.load_state_dict(saved.record["scaler"])
        return saved.record

    def offer(
        self,
        model: torch.nn.Module,
        optimizer: Any,
        scaler: Any,
        record: Mapping[str, Any],
        *,
        last: bool = False,
    ) -> None:
        """Write a checkpoint if one is due: by the clock, because the user wants to stop, or after a long training."""
        waited = monotonic() - self._last
        due = waited >= (max(self.every, _SHARE * self._cost) if self.every else 0.0)
        if not (due or self.stopping() or (last and self._cost)):
            return
        start = monotonic()
        plain = {**record, **({} if scaler is None else {"scaler": scaler.state_dict()})}
        try:
            write(self.folder, capture(model, optimizer), plain)
        except UserError as error:
            self.warn(f"no checkpoint of this training: {error}")
        self._last = monotonic()
        self._cost = self._last - start


def keep(folder: Path, backbone: "Backbone", record: Mapping[str, Any]) -> int:
    """Keep trained weights as a model folder: safetensors, configuration, tokenizer, pooling.

    Args:
        folder: `<results>/checkpoints/<run>`; what stood there is replaced.
        backbone: trained, its adapters folded in.
        record: what `checkpoint.json` says of it.

    Returns:
        The size in bytes.

    Raises:
        UserError: the folder or the disk does not take it; what was there before stands.
    """
    # the cell's lock is ours: what stands at either place is dead
    building, before = folder.with_name(f"{folder.name}.tmp"), folder.with_name(f"{folder.name}.before")
    try:
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir(parents=True)
        with quiet():
            backbone.model.save_pretrained(building)
        backbone.tokenizer.save_pretrained(building)
        _write_reading(building, backbone)
        files = sorted(path for path in building.rglob("*") if path.is_file())
        digests = {path.name: file_sha256(path) for path in files if path.suffix == ".safetensors"}
        head = {"format": FORMAT, "sha256": digests, "readout": vars(backbone.readout), **record}
        commit.write(building / KEPT_MARK, (json.dumps(head, ensure_ascii=False, indent=1) + "\n").encode())
        for path in files:
            _sync(path)
        shutil.rmtree(before, ignore_errors=True)
        if folder.exists():
            os.replace(folder, before)
        os.replace(building, folder)
        shutil.rmtree(before, ignore_errors=True)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(building, ignore_errors=True)
        if before.exists() and not folder.exists():
            os.replace(before, folder)
        raise UserError(
            str(folder), f"cannot be written: {error}", "free or choose another disk, or leave --keep-checkpoints out"
        ) from error
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def kept(folder: Path) -> dict[str, Any] | None:
    """Return what `checkpoint.json` says of kept weights; None when they are not there or not those that were written."""
    try:
        head = json.loads((folder / KEPT_MARK).read_bytes())
        whole = all(file_sha256(folder / Path(name).name) == digest for name, digest in head["sha256"].items())
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return None
    return head if whole and head["sha256"] and head.get("format") == FORMAT else None


def said(folder: Path) -> dict[str, Any]:
    """Return what `checkpoint.json` says, whatever became of the weights beside it; nothing where there is none."""
    try:
        head = json.loads((folder / KEPT_MARK).read_bytes())
    except (OSError, ValueError):
        return {}
    return head if isinstance(head, dict) else {}


def state_digest(model: torch.nn.Module) -> str:
    """Return the sha256 over names, shapes and bytes of a model's weights in memory."""
    total = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        total.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        total.update(value.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def _write_reading(folder: Path, backbone: "Backbone") -> None:
    """Say how texts are read in and the model is read out, as sentence-transformers does."""
    if backbone.lowercase:
        (folder / "sentence_bert_config.json").write_text(json.dumps({"do_lower_case": True}), encoding="utf-8")
    said = {"word_embedding_dimension": backbone.shape.width, FLAGS[backbone.readout.pooling]: True}
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(said), encoding="utf-8")


def _under(prefix: str, tensors: Tensors) -> Tensors:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _separate(tensors: Mapping[str, torch.Tensor]) -> Tensors:
    """Return tensors on the CPU that share no memory, as safetensors wants them."""
    seen: set[int] = set()
    own: Tensors = {}
    for name, value in tensors.items():
        tensor = value.detach().cpu().contiguous()
        if tensor.numel() and tensor.untyped_storage().data_ptr() in seen:
            tensor = tensor.clone()
        seen.add(tensor.untyped_storage().data_ptr())
        own[name] = tensor
    return own


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
