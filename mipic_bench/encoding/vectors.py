"""Vectors kept between runs: a text that a model read once is not read again, whatever tasks it stands in."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import time
from typing import Any
from uuid import uuid4

import numpy as np

from mipic_bench.backbones.digests import file_sha256
from mipic_bench.errors import UserError
from mipic_bench.results import commit

FORMAT = 1
FOLDER, MARK, NAMES = "vectors", "vectors.json", "texts.npy"
LARGE = 1 << 30  # bytes: arrays above it lie in a file that the system may page out
_CHUNK = 8192  # rows copied at a time
_DAY = 86400  # seconds


def allocate(layers: Sequence[int], shape: tuple[int, int]) -> dict[int, np.ndarray]:
    """Return one float32 array per layer; in an unnamed file where all of them together are large and the disk has room."""
    large = len(layers) * shape[0] * shape[1] * 4 > LARGE
    return {layer: _mapped(shape) if large else np.empty(shape, np.float32) for layer in layers}


def _mapped(shape: tuple[int, int]) -> np.ndarray:
    with tempfile.TemporaryFile() as file:  # the mapping keeps it; the disk has it back when the array goes
        if hasattr(os, "posix_fallocate"):
            try:  # a page that the disk has no room for would end the process
                os.posix_fallocate(file.fileno(), 0, 4 * shape[0] * shape[1])
            except OSError:
                return np.empty(shape, np.float32)
        return np.memmap(file, np.float32, "w+", shape=shape)


@dataclass(frozen=True)
class Kept:
    """The vectors of one model that are kept in a folder, in lots: what one run read is one lot.

    Args:
        folder: of this model, read out in this way.
        key: what decides the numbers, as it stands in every lot.
        say: told how many were found, and when some could not be written; the run goes on.
    """

    folder: Path
    key: Mapping[str, Any]
    say: Callable[[str], None] = lambda text: None

    @classmethod
    def of(cls, results: Path, say: Callable[[str], None], **key: Any) -> "Kept":
        """Return the vectors in `<results>/vectors` that were made with the same weights, tokenizer, readout and arithmetic."""
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        return cls(results / FOLDER / digest[:16], key, say)

    def fill(self, texts: Sequence[str], arrays: Mapping[int, np.ndarray]) -> np.ndarray:
        """Write the vectors that are known into the rows of their texts.

        Args:
            texts: all different.
            arrays: layer -> (text, dim); a text counts as known when all of these layers are.

        Returns:
            Which rows were not known, bool (len(texts),).
        """
        wanted = {_name(text): row for row, text in enumerate(texts)}
        missing = np.ones(len(texts), dtype=bool)
        for names, vectors in self._lots(tuple(arrays)):
            places = [wanted.get(name, -1) for name in names]
            pairs = [(row, place) for place, row in enumerate(places) if row >= 0 and missing[row]]
            for start in range(0, len(pairs), _CHUNK):
                rows, found = np.array(pairs[start : start + _CHUNK], dtype=np.int64).T
                for layer, array in arrays.items():
                    array[rows] = vectors[layer][found]
                missing[rows] = False
        if not missing.all():
            self.say(f"{np.sum(~missing)} of {len(texts)} texts are not encoded again, their vectors were kept")
        return missing

    def add(self, texts: Sequence[str], rows: np.ndarray, arrays: Mapping[int, np.ndarray]) -> None:
        """Keep the vectors of some rows as a lot of their own; it is there whole or not at all."""
        if not len(rows):
            return
        building = self.folder / f"{uuid4().hex[:12]}{commit.TEMPORARY}"
        self._clear()
        try:
            building.mkdir(parents=True)
            names = np.frombuffer(b"".join(_name(texts[row]) for row in rows), np.uint8).reshape(len(rows), -1)
            np.save(building / NAMES, names, allow_pickle=False)
            for layer, array in arrays.items():
                _save(building / _file(layer), array, rows)
            digests = {path.name: file_sha256(path) for path in building.iterdir()}
            head = {"format": FORMAT, "key": self.key, "sha256": digests}
            commit.write(building / MARK, (json.dumps(head, indent=1) + "\n").encode())
            os.replace(building, building.with_suffix(""))
        except (OSError, UserError) as error:
            shutil.rmtree(building, ignore_errors=True)
            self.say(f"vectors are not kept: {error}")

    def _clear(self) -> None:
        """Take away what processes left that were killed while they wrote; a lot of today may still be growing."""
        for path in self.folder.glob(f"*{commit.TEMPORARY}"):
            with suppress(OSError):  # another process may take it away at the same time
                if time() - path.stat().st_mtime > _DAY:
                    shutil.rmtree(path)

    def _lots(self, layers: Sequence[int]) -> Iterator[tuple[list[bytes], dict[int, np.ndarray]]]:
        """Yield the names and mapped arrays of every whole lot that has all of these layers; others are passed over."""
        files = [NAMES, *map(_file, layers)]
        for mark in sorted(self.folder.glob(f"*/{MARK}")):
            try:
                head = json.loads(mark.read_bytes())
                known = head["format"] == FORMAT and head["key"] == self.key and set(files) <= set(head["sha256"])
                if not known or any(file_sha256(mark.parent / name) != head["sha256"][name] for name in files):
                    continue
                names, *vectors = (np.load(mark.parent / name, mmap_mode="r", allow_pickle=False) for name in files)
            except (OSError, ValueError, KeyError, TypeError):
                continue
            yield [row.tobytes() for row in names], dict(zip(layers, vectors, strict=True))


def _name(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="surrogatepass")).digest()


def _save(path: Path, array: np.ndarray, rows: np.ndarray) -> None:
    """Write some rows of an array as a .npy file. Written, not mapped: a full disk is then an error and not a signal.

    Raises:
        OSError: the disk does not take it.
    """
    with path.open("wb") as file:
        head = {"descr": "<f4", "fortran_order": False, "shape": (len(rows), array.shape[1])}
        np.lib.format.write_array_header_1_0(file, head)
        for start in range(0, len(rows), _CHUNK):
            file.write(array[rows[start : start + _CHUNK]].astype("<f4").tobytes())
        file.flush()
        os.fsync(file.fileno())


def _file(layer: int) -> str:
    return f"layer-{layer}.npy"
