"""Files that are there whole or not at all: content under a temporary name, synced, renamed, then its mark.

A mark is a small file beside the content that holds the content's sha256. To replace both without a moment in which
they do not fit, the new mark is laid down first under `<mark>.next`: whichever mark fits the content is the true one.
"""

import hashlib
import os
from pathlib import Path

from mipic_bench.errors import UserError

NEXT = ".next"
TEMPORARY = ".tmp"


def digest(content: bytes) -> str:
    """Return the sha256 of bytes, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def make(folder: Path) -> None:
    """Make a folder, and those above it, where they are not there.

    Raises:
        UserError: something else has its name, or the disk does not take it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _told(folder, error) from error


def move(folder: Path, out: Path) -> None:
    """Give a folder its place; an empty one there is taken away.

    Raises:
        UserError: something else is there, or the disk does not take it.
    """
    try:
        if out.is_dir():
            out.rmdir()
        os.replace(folder, out)
    except OSError as error:
        raise _told(out, error) from error


def write(path: Path, content: bytes, *, sync: bool = True) -> None:
    """Write a file so that a reader, or a machine that is switched off, finds the old content or the new, never a part.

    Args:
        path: the file.
        content: what it shall hold.
        sync: wait until the disk has it. Without it a reader never finds a part either, but a machine that is switched off
            may: for what can be made again.

    Raises:
        UserError: the folder cannot be made or written to, the disk is full, or something else has the file's name.
    """
    if path.is_dir():
        raise UserError(str(path), "is a folder", "give the path of a file, or move what is in the way")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, content, sync)
    except OSError as error:
        raise _told(path, error) from error


def write_marked(path: Path, content: bytes, mark: Path, mark_content: bytes) -> None:
    """Write a file and then its mark; what stood there before counts until the new content is whole.

    Args:
        path: the file.
        content: what it shall hold.
        mark: the file beside it that says that it is whole.
        mark_content: what that holds; the sha256 of the content, in hexadecimal, must be in it.

    Raises:
        UserError: as `write`.
    """
    following = mark.with_name(mark.name + NEXT)
    try:
        if following.is_file() and path.is_file() and fits(path.read_bytes(), following.read_bytes()):
            os.replace(following, mark)  # an earlier write was cut off just before this step
    except OSError as error:
        raise _told(mark, error) from error
    write(following, mark_content)
    write(path, content)
    try:
        os.replace(following, mark)
        _sync_folder(mark.parent)
    except OSError as error:
        raise _told(mark, error) from error


def read_marked(path: Path, mark: Path) -> tuple[bytes, bytes] | None:
    """Return a file's content and the content of the mark that fits it; None when no mark does.

    Raises:
        OSError: the file is not there or cannot be read.
    """
    content = path.read_bytes()
    for candidate in (mark, mark.with_name(mark.name + NEXT)):
        if candidate.is_file() and fits(content, text := candidate.read_bytes()):
            return content, text
    return None


def fits(content: bytes, mark_content: bytes) -> bool:
    """Say whether a mark is the mark of this content: it holds the content's digest."""
    return digest(content).encode() in mark_content


def _write(path: Path, content: bytes, sync: bool) -> None:
    temporary = path.with_name(path.name + TEMPORARY)
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        if temporary.is_file():
            temporary.unlink()  # a full disk needs the room
        raise
    if sync:
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":
        return  # Windows cannot open a folder to sync it
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _told(path: Path, error: OSError) -> UserError:
    reason = error.strerror or str(error)
    if isinstance(error, (FileExistsError, NotADirectoryError, IsADirectoryError)):
        blocked = error.filename2 or error.filename or path
        return UserError(
            str(path), f"cannot be written: {reason} ({blocked})", "move what is in the way, or choose another folder"
        )
    return UserError(
        str(path),
        f"cannot be written: {reason}",
        "free or choose another disk or folder; what was there before is untouched",
    )
