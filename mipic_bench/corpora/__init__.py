"""Corpora: data to train on. Their kind is told by their columns, and said.

| kind | columns | trains |
|---|---|---|
| text | `text` (a label beside it is ignored) | two dropout views of each sentence (SimCSE) |
| pairs | `anchor, positive`, or `sentence1, sentence2`; with a `label`, the positive pairs are kept | a sentence and its paraphrase |
| triplets | `anchor, positive, negative` | the same, with a hard negative |
| scored | `sentence1, sentence2, score` | graded similarity |

A corpus of one's own needs no code: a folder with a `train` file (or `all`) under `--data`, or a file. To add one of the
hub, write one uppercase `HubCorpus` constant in a module of this folder.
"""

import os
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from mipic_bench import registry
from mipic_bench.corpora._base import KINDS, Corpus, HubCorpus, infer, read_corpus
from mipic_bench.data import datafiles, toy
from mipic_bench.errors import UserError, unknown
from mipic_bench.paths import expanded
from mipic_bench.tasks import local
from mipic_bench.tasks._base import frame_of
from mipic_bench.tasks.hub import fetch

__all__ = ["KINDS", "Corpus", "HubCorpus", "found", "known", "load", "registered"]

HUB_PREFIX = "hub:"  # hub:ORG/NAME[@REVISION][#CONFIG] reads any dataset of the hub


@cache
def registered() -> Mapping[str, HubCorpus]:
    """Return the registry: corpus name -> its constant."""
    return {corpus.name: corpus for corpus in registry.instances(sys.modules[__name__], HubCorpus)}


def load(name: str, data: Path | None = None) -> Corpus:
    """Return a corpus.

    Looked for in this order: a folder of that name in `data`; the toy corpora; the registry;
    `hub:ORG/NAME[@REVISION][#CONFIG]`; a folder or file at that path; a file in `data`, its ending left out.

    Args:
        name: a registry name, a folder's name in `data`, a hub id after "hub:", or a path.
        data: the folder of local datasets.

    Raises:
        UserError: an unknown name, bad files (all problems at once), fewer than two rows, or a hub that cannot be reached.
    """
    if "/" not in name and data is not None and _train_file(data / name):
        return _local(data / name, name)
    if name in toy.CORPORA:
        frame = frame_of(**toy.corpus(name))
        return read_corpus(frame, name, f"corpus {name}", "toy")
    if name in registered():
        return _from_hub(registered()[name])
    if name.startswith(HUB_PREFIX):
        return _from_hub(_any_of_the_hub(name))
    for place in _places(name, data):
        if os.path.isfile(place) or (os.path.isdir(place) and _is_path(name) and local.split_files(place)):
            return _local(place, local.shown(place))
    if _is_path(name) or Path(name).suffix in datafiles.FORMATS:
        raise UserError("--corpus", f"there is no file or folder of training text '{name}'", "mend the path")
    raise unknown("corpus", name, known(data), "--corpus")


def _places(name: str, data: Path | None) -> Iterator[Path]:
    """Yield where a path may lead to: as it is, inside `data`, and there to a file by its name without its ending."""
    yield expanded(name)
    if data is not None and ".." not in Path(name).parts:
        yield from (data / f"{name}{ending}" for ending in ("", *datafiles.FORMATS))


def known(data: Path | None = None) -> dict[str, str]:
    """Return corpus name -> kind, for the toy corpora, the registry and the folders of `data`."""
    return {**toy.CORPORA} | {name: corpus.kind for name, corpus in registered().items()} | found(data)


def found(data: Path | None) -> dict[str, str]:
    """Return corpus name -> kind for the folders of `data` alone, in name order."""
    names = {}
    for folder in local.folders(data) if data is not None else ():
        file = _train_file(folder)
        told = infer(_header(folder, file)) if file is not None else None
        if told is not None and told[0]:
            names[folder.name] = told[0]
    return names


def _local(place: Path, name: str) -> Corpus:
    file = place if place.is_file() else _train_file(place)
    if file is None:
        there = ", ".join(local.split_files(place)) or "no data files"
        raise UserError(
            str(place), f"no train file to train on; it has {there}", "add train.csv, or name the file itself"
        )
    said = local.settings(file.parent) if place.is_dir() else {}
    frame = local.renamed(datafiles.read(file), said, str(file))
    return read_corpus(frame, name, str(file), f"local:{name}", said.get("positive", ""))


def _from_hub(entry: HubCorpus) -> Corpus:
    splits = fetch(entry.source, entry.revision, entry.config, entry.name)
    if "train" not in splits:
        raise UserError(
            f"hub:{entry.source}", f"no train split; it has {', '.join(splits)}", "download it and name a file"
        )
    frame = splits["train"].to_pandas().rename(columns=dict(entry.columns))
    source = f"hub:{entry.source}@{entry.revision or 'main'}" + (f"#{entry.config}" if entry.config else "")
    return read_corpus(frame, entry.name, source, source)


def _any_of_the_hub(name: str) -> HubCorpus:
    """Read `hub:ORG/NAME[@REVISION][#CONFIG]`; each is a corpus with a name of its own: `ORG__NAME__CONFIG@REVISION`."""
    rest, _, config = name.removeprefix(HUB_PREFIX).partition("#")
    source, _, revision = rest.partition("@")
    shown = "__".join(filter(None, [source, config])) + (f"@{revision}" if revision else "")
    shown = shown.replace("/", "__")
    return HubCorpus(shown, "", source, revision, "", "", config=config or None)


def _is_path(name: str) -> bool:
    return name not in ("", ".", "..") and ("/" in name or os.path.isdir(expanded(name)))


def _train_file(folder: Path) -> Path | None:
    if not os.path.isdir(folder) or folder.name.startswith(".") or local.is_retrieval(folder):
        return None
    try:
        files = local.split_files(folder)
    except UserError:
        return None
    if "all" in files and local.guess_family(folder):
        return None  # its rows are cut into train and test: they are not all for training
    return files.get("train") or files.get("all")


def _header(folder: Path, file: Path) -> tuple[str, ...]:
    try:
        names = local.settings(folder).get("columns", {})
    except UserError:
        return ()
    return tuple(names.get(column, column) for column in datafiles.header(file))
