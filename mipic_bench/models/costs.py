"""Profiles on disk: `<results>/profile/<backbone>.csv`, what each budget costs. Measured by `profiling`; read by reports."""

from pathlib import Path

import pandas as pd

from mipic_bench.errors import UserError
from mipic_bench.results import commit

FOLDER = "profile"
KEYS = ("layer", "dim", "precision")
_SETTING = (  # tokens tell other texts, or their cut
    *("weights", "tokens", "index_size", "device", "dtype", "threads", "processor"),
)
COLUMNS = (
    "backbone", *KEYS, "bytes", "parameters", "flops", "encode_ms", "texts_per_second", "tokens", "search_ms", "index_size",
    "device", "dtype", "threads", "processor", "weights",
)  # fmt: skip


def write(frame: pd.DataFrame, results: Path) -> tuple[Path, str]:
    """Write a profile as `<results>/profile/<backbone>.csv`; budgets measured before, in the same setting, are kept.

    Returns:
        The file, and a sentence on budgets measured in another setting, which are replaced; empty where there are none.

    Raises:
        UserError: the folder or the disk does not take it.
    """
    [name] = frame["backbone"].unique()
    path, told = results / FOLDER / f"{name}.csv", ""
    if path.is_file():
        before = _read(path)
        now = frame[list(_SETTING)].iloc[0]
        same = (before[list(_SETTING)] == now).all(axis=1)  # other machines do not mix
        if len(other := before[~same]):
            differs = [
                f"{key} {other[key].iloc[0]}, now {now[key]}" for key in _SETTING if (other[key] != now[key]).any()
            ]
            told = f"{len(other)} budgets measured in another setting are replaced ({'; '.join(differs)})"
        frame = (
            pd.concat([frame, before[same]]).drop_duplicates(list(KEYS)).sort_values(["layer", "dim"], kind="stable")
        )
    commit.write(path, frame.to_csv(index=False, lineterminator="\n").encode())
    return path, told


def read(results: Path) -> pd.DataFrame | None:
    """Return every profile of a results folder, as reports take it; None if there is none.

    Raises:
        UserError: a file there is no profile.
    """
    frames = [_read(path) for path in sorted((results / FOLDER).glob("*.csv"))]
    return pd.concat(frames, ignore_index=True) if frames else None


def _read(path: Path) -> pd.DataFrame:
    try:
        frame = pd.read_csv(path, keep_default_na=False, converters={"tokens": float}, dtype={"weights": str})
        return frame.assign(weights=frame.get("weights", ""))[
            list(COLUMNS)
        ]  # older profiles do not say of what weights
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{FOLDER}/{path.name}", f"is no profile: {error}", "measure it again, or take it away"
        ) from error
