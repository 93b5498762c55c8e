"""What options mean: lists, ranges of seeds, whole numbers, pairs. No torch."""

from collections.abc import Sequence
from os import PathLike

from mipic_bench.errors import UserError

_MOST_SEEDS = 1000
LARGEST_SEED = 2**31 - 1  # of 32 bits, which all generators tell apart


def pieces(values: Sequence[str] | None) -> list[str]:
    """Split list options: every one takes commas and may be repeated. `mipic-dims=[16,32]` is one piece."""
    return [part.strip() for value in values or () for part in _split(value) if part.strip()]


def words(names: str | PathLike[str] | Sequence[str | PathLike[str]]) -> list[str]:
    """Return one name or path or several, as Python gives them, as a list."""
    return [str(names)] if isinstance(names, (str, PathLike)) else [str(name) for name in names]


def _split(text: str) -> list[str]:
    """Split at the commas that stand outside of brackets."""
    parts, depth = [""], 0
    for sign in text:
        depth += (sign == "[") - (sign == "]")
        if sign == "," and depth <= 0:
            parts.append("")
        else:
            parts[-1] += sign
    return parts


def seeds(text: str) -> tuple[int, ...]:
    """Read "0,1,2" or "0-4".

    Raises:
        UserError: it is not that, or more or larger seeds than there are.
    """
    found: list[int] = []
    for part in text.split(","):
        first, sign, last = part.strip().partition("-")
        if not _whole(first) or (sign and not _whole(last)):
            raise UserError("--seeds", f"'{text}' is not a list of seeds", "write 0,1,2 or 0-4")
        low, high = int(first), int(last or first)
        if not low <= high <= LARGEST_SEED:
            what = f"{low}-{high} falls" if low > high else f"{high} is above {LARGEST_SEED}"
            raise UserError("--seeds", what, f"write rising seeds of 0..{LARGEST_SEED}, such as 0-4")
        if high - low >= _MOST_SEEDS:
            raise UserError("--seeds", f"{low}-{high} are {high - low + 1} seeds", f"ask for at most {_MOST_SEEDS}")
        found += range(low, high + 1)
    return tuple(dict.fromkeys(found))


def numbers(option: str, values: Sequence[str] | None) -> tuple[int, ...] | None:
    """Read a list of whole numbers; None for nothing and for "all".

    Raises:
        UserError: a word is not a whole number.
    """
    words = pieces(values)
    if not words or words == ["all"]:
        return None
    for word in words:
        if not _whole(word.removeprefix("-")):
            raise UserError(option, f"'{word}' is not a whole number", f"write {option} 2,4")
    return tuple(map(int, words))


def pair(option: str, text: str) -> tuple[str, str]:
    """Read "ours=theirs".

    Raises:
        UserError: it is not that.
    """
    ours, sign, theirs = text.partition("=")
    if not (ours and sign and theirs):
        raise UserError(option, f"'{text}' is not ours=theirs", f"write {option} minilm=all-MiniLM-L6-v2")
    return ours, theirs


def rates(values: Sequence[str]) -> dict[str, float]:
    """Read learning rates: "2e-5" for every method (the key is empty), "mipic=5e-5" for one.

    Raises:
        UserError: it is not that.
    """
    found = {}
    for value in values:
        method, _, number = value.rpartition("=")
        try:
            rate = float(number)
        except ValueError:
            rate = 0.0
        if not 0 < rate < 1:
            raise UserError("--learning-rate", f"'{value}' is no rate between 0 and 1", "write 2e-5, or mipic=5e-5")
        found[method] = rate
    return found


Stages = tuple[tuple[int, ...], tuple[int, ...]]  # the widths of a funnel, and how many documents all but the last keep


def funnels(values: Sequence[str] | None) -> list[Stages]:
    """Read funnels, "16:200,64:50,384" each: rank by width 16, keep 200, rank these by 64, keep 50, rank these by 384.

    Raises:
        UserError: it is not that.
    """
    found = []
    for value in values or ():
        *stages, last = [part.strip().split(":") for part in value.split(",")]
        if not (all(len(stage) == 2 for stage in stages) and len(last) == 1) or not all(
            _whole(number) for stage in (*stages, last) for number in stage
        ):
            what = f"'{value}' is not WIDTH:KEPT,...,WIDTH"
            raise UserError("--funnel", what, "write --funnel 16:200,64:50,384; repeat the option for another funnel")
        widths, kept = [int(stage[0]) for stage in (*stages, last)], [int(stage[1]) for stage in stages]
        found.append((tuple(widths), tuple(kept)))
    return list(dict.fromkeys(found))


def cluster(address: str) -> str:
    """Read "dask://HOST:PORT" as HOST:PORT; empty stays empty.

    Raises:
        UserError: it is not that.
    """
    host, _, port = address.removeprefix("dask://").rpartition(":")
    if address and not (address.startswith("dask://") and host and _whole(port) and int(port) < 2**16):
        raise UserError("--cluster", f"'{address}' is not dask://HOST:PORT", "write --cluster dask://localhost:8786")
    return address.removeprefix("dask://")


def _whole(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 16
