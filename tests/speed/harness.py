"""What the benchmarks share: options, turns between two sides, and rows with the machine and the versions they were measured on."""

import argparse
import csv
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import torch

from mipic_bench import corpora
from mipic_bench.corpora import Corpus
from mipic_bench.running import environment

ROOT = Path(__file__).resolve().parents[2]
_MACHINE = ["created", "git", "processor", "cores", "threads", "memory_gb", "card", "load"]
_VERSIONS = ["python", "torch", "transformers", "sentence_transformers"]
_MEASURED = [
    "what",
    "case",
    "unit",
    "ours",
    "peer",
    "ratio",
    "ratio_low",
    "ratio_high",
    "runs",
    "target",
    "met",
    "note",
]
COLUMNS = [*_MACHINE, *_VERSIONS, "quick", "dtype", *_MEASURED]


def options(doc: str, **extra: dict[str, Any]) -> argparse.Namespace:
    """Read the command line that all benchmarks share, and what one adds; set the number of threads."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a trial run with small sizes")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads of both sides")
    parser.add_argument("--runs", type=int, default=None, help="turns of each side")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "speed", help="folder of the CSV")
    for name, settings in extra.items():
        parser.add_argument(f"--{name}", **settings)
    parsed = parser.parse_args()
    torch.set_num_threads(parsed.threads)
    os.environ["OMP_NUM_THREADS"] = str(parsed.threads)  # for child processes
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["TOKENIZERS_PARALLELISM"] = "true"
    return parsed


def turns(sides: Mapping[str, Callable[[], float]], runs: int) -> dict[str, list[float]]:
    """Let every side measure itself `runs` times, in turns, the order turned around each time."""
    measured: dict[str, list[float]] = {name: [] for name in sides}
    for run in range(runs):
        for name in list(sides)[:: 1 if run % 2 == 0 else -1]:
            measured[name].append(sides[name]())
    return measured


def seconds(work: Callable[[], Any], repeat: int = 1) -> float:
    """Return the seconds that one call takes, mean over `repeat` calls."""
    start = perf_counter()
    for _ in range(repeat):
        work()
    return (perf_counter() - start) / repeat


class Rows:
    """Appends measurements to `<out>/<name>.csv`, each as soon as it is known."""

    def __init__(self, name: str, args: argparse.Namespace, dtype: str = "", card: str = "") -> None:
        self.path = args.out / f"{name}.csv"
        self.common = {**machine(args.threads), "quick": int(args.quick), "dtype": dtype, "card": card}

    def add(
        self,
        what: str,
        case: str,
        unit: str,
        ours: Sequence[float],
        peer: Sequence[float] = (),
        target: str = "",
        over: str = "peer",
        note: str = "",
        **changed: str,
    ) -> None:
        """Append one row and print it.

        Args:
            what, case, unit: see README.
            ours: one number per run. peer: the same, or nothing.
            target: ">= 2" or "<= 1.15", a bound on the median ratio.
            over: "peer": ratio = ours / peer; "ours": peer / ours (how many times less time we take).
            note: see README.
            changed: common columns that differ in this row.
        """
        pairs = list(zip(ours, peer, strict=True)) if peer else []
        ratios = [b / a if over == "ours" else a / b for a, b in pairs]
        row = {
            **self.common,
            "what": what,
            "case": case,
            "unit": unit,
            "ours": _digits(median(ours)),
            "runs": len(ours),
        }
        row |= {"note": note, "target": target, **changed}
        if ratios:
            row |= {"peer": _digits(median(peer)), "ratio": _digits(median(ratios))}
            row |= {"ratio_low": _digits(min(ratios)), "ratio_high": _digits(max(ratios))}
            row["met"] = {True: "yes", False: "no", None: ""}[_met(median(ratios), target)]
        elif target:
            row["met"] = "yes" if _met(median(ours), target) else "no"
        self._write(row)
        shown = {name: row[name] for name in _MEASURED if row.get(name, "") != ""}
        print("  ".join(f"{name}={value}" for name, value in shown.items()), flush=True)

    def _write(self, row: Mapping[str, Any]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = not self.path.exists()
        with self.path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerow(row)


def machine(threads: int) -> dict[str, Any]:
    """Describe the machine and the versions: no names, no paths."""
    versions = environment.versions()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    commit, _, changes = environment.commit().partition("+")
    return {
        "created": environment.now(),
        "git": commit[:12] + ("+changes" if changes else ""),
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "memory_gb": round(memory),
        "load": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "torch": versions.get("torch", ""),
        "transformers": versions.get("transformers", ""),
        "sentence_transformers": versions.get("sentence-transformers", ""),
    }


def processor() -> str:
    """Return the processor's name and the widest arithmetic it has for bfloat16."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        lines = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        name = lines[0].partition(":")[2].strip() if lines else name
    capabilities = torch.cpu.get_capabilities()
    kinds = [kind for kind in ("amx_bf16", "avx512_bf16", "avx512_f", "avx2") if capabilities.get(kind)]
    return f"{name} ({kinds[0]})" if kinds else name


def peak_mb() -> float:
    """Return the largest resident memory of this very process in MB; unlike `ru_maxrss` it knows nothing of the parent's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) / 1024


def child(script: str, *words: str) -> Any:
    """Run this benchmark again in a process of its own with some options more, and return what it prints last, as JSON."""
    command = [sys.executable, script, *sys.argv[1:], *words]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    return json.loads(output.splitlines()[-1])


def corpus_texts(data: Path | None, corpus: str, count: int, seed: int = 0) -> list[str]:
    """Return `count` different texts of a corpus in a shuffled order, the same at every call; of a small corpus fewer."""
    texts = list(dict.fromkeys(corpora.load(corpus, data).columns["anchor"]))
    order = np.random.default_rng(seed).permutation(len(texts))
    return [texts[place] for place in order[:count]]


def text_corpus(texts: Sequence[str]) -> Corpus:
    """Wrap texts as a corpus of unlabelled text."""
    return Corpus("speed", "text", {"anchor": list(texts)}, None, "", "speed")


def _met(ratio: float, target: str) -> bool | None:
    if not target:
        return None
    sign, bound = target.split()
    return ratio >= float(bound) if sign == ">=" else ratio <= float(bound)


def _digits(number: float) -> str:
    return f"{number:.4g}"
