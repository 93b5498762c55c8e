"""One MIPIC step against the plain full-width InfoNCE step on the same batches; SIA against the literal formula; peak memory."""

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from harness import Rows, child, corpus_texts, options, peak_mb, seconds, text_corpus, turns
from literal import sia
from sides import DTYPES, default_dtype, recipe_on, step_seconds

from mipic_bench import backbones
from mipic_bench.backbones import Backbone
from mipic_bench.recipes.resolved import Resolved
from mipic_bench.states import States

LENGTH = 128
STEPS = 8


def one_step(method: str, texts: Sequence[str], dtype: str, training: dict[str, Any]) -> float:
    """Train for some steps and return the median seconds of a step."""
    backbone = backbones.load("minilm", offline=True)
    return median(step_seconds(backbone, recipe_on(method, backbone, **training), text_corpus(texts), dtype))


def compare_steps(rows: Rows, texts: Sequence[str], batches: Sequence[int], dtype: str, runs: int, target: str) -> None:
    """Measure the plain and the MIPIC step on real length-bucketed batches, and on one batch of mixed length."""
    for batch in batches:
        cases = {
            "length-bucketed batches": (texts[: STEPS * batch], {"epochs": 1}),
            "one mixed-length batch": (texts[:batch], {"epochs": STEPS}),
        }
        for case, (chosen, epochs) in cases.items():
            training = {"batch_size": batch, "max_length": LENGTH, **epochs}
            sides = {name: partial(one_step, name, chosen, dtype, training) for name in ("mipic", "full")}
            measured = turns(sides, runs)
            rows.add("step, mipic against plain", f"batch {batch}, {case}", "s", *measured.values(), target)


def batch_states(backbone: Backbone, recipe: Resolved, texts: Sequence[str], dtype: str) -> States:
    """Run the encoder on two views of some texts, padded to one rectangle, and return their states without a gradient graph."""
    ids = backbone.tokenize(list(texts) * 2, LENGTH)
    input_ids = torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in ids], batch_first=True)
    lengths = torch.tensor([len(row) for row in ids])
    mask = (torch.arange(input_ids.shape[1]) < lengths.unsqueeze(1)).long()
    special = torch.isin(input_ids, torch.tensor(sorted(backbone.special_ids))) & mask.bool()
    with torch.no_grad(), torch.autocast("cpu", DTYPES[dtype], enabled=dtype != "float32"):
        hidden = backbone.hidden(input_ids, mask, recipe.layers)
    leaves = {layer: value.detach().requires_grad_() for layer, value in hidden.items()}
    return States(leaves, mask, special, backbone.readout.pooling, 2)


def sia_ours(recipe: Resolved, states: States, heads: dict[str, torch.nn.Module | None]) -> float:
    """Compute the SIA terms and their gradient; return the seconds."""
    fresh = States(states.hidden, states.mask, states.special, states.pooling, states.parts)

    def work() -> None:
        terms = {name: recipe.terms[name] for name in ("attention", "cka")}
        sum(term.loss(fresh, recipe.nesting, heads[name]) for name, term in terms.items()).backward()  # type: ignore[union-attr]

    return seconds(work)


def compare_sia(rows: Rows, texts: Sequence[str], batch: int, dtype: str, runs: int) -> None:
    """Measure the SIA terms, forward and backward, against the literal formula, after making sure that both agree."""
    backbone = backbones.load("minilm", offline=True)
    recipe = recipe_on("mipic", backbone, batch_size=batch, max_length=LENGTH)
    generator = torch.Generator().manual_seed(0)
    heads = {name: recipe.terms[name].heads(recipe.nesting, generator) for name in ("attention", "cka")}
    for kind in dict.fromkeys((dtype, "float32")):
        states = batch_states(backbone, recipe, texts[:batch], kind)
        with torch.no_grad():
            ours = sum(recipe.terms[name].loss(states, recipe.nesting, heads[name]) for name in heads)
            difference = abs(float(ours) / float(sia(recipe, states, heads)) - 1)
        sides: dict[str, Callable[[], float]] = {
            "ours": partial(sia_ours, recipe, states, heads),
            "peer": lambda states=states: seconds(lambda: sia(recipe, states, heads).backward()),
        }
        sides["ours"]()
        measured = turns(sides, runs)
        note = f"peer: per example, double precision, D x D matrices; values differ by {difference:.0e} of themselves"
        case = f"batch {batch}, 6 layers x 6 dims, {states.mask.shape[1]} tokens, states of a {kind} forward"
        rows.add("SIA, forward and backward", case, "s", *measured.values(), ">= 20", "ours", note, dtype=kind)


def memory_of(method: str, texts: Sequence[str], batch: int, dtype: str) -> dict[str, float]:
    """Return what a fresh process held in MB before its third step and at most by its end, measured in this very process."""
    backbone = backbones.load("minilm", offline=True)
    training = {"batch_size": batch, "max_length": LENGTH}
    tiny = sorted(texts, key=len)[:4]  # makes gradients and the optimizer's state
    step_seconds(backbone, recipe_on("full", backbone, epochs=2, batch_size=2, max_length=8), text_corpus(tiny), dtype)
    before = peak_mb()
    step_seconds(backbone, recipe_on(method, backbone, epochs=3, **training), text_corpus(texts[:batch]), dtype)
    return {"before": before, "peak": peak_mb()}


def compare_memory(rows: Rows, batches: Sequence[int], runs: int) -> None:
    """Measure the peak memory of both steps, each in a process of its own."""
    for batch in batches:
        found: dict[str, list[dict[str, float]]] = {"mipic": [], "full": []}
        for _ in range(runs):
            for method, kept in found.items():
                kept.append(child(__file__, "--memory-of", method, "--only", str(batch)))
        peaks = [[one["peak"] for one in found[method]] for method in ("mipic", "full")]
        above = [[one["peak"] - one["before"] for one in found[method]] for method in ("mipic", "full")]
        case = f"batch {batch}, one mixed-length batch"
        rows.add("peak memory of the process", case, "MB", *peaks, "<= 1.3")
        rows.add("peak memory above weights and optimizer", case, "MB", *above, "<= 1.3")


def main() -> None:
    args = options(
        __doc__,
        data={"type": Path, "default": None, "help": "folder of datasets"},
        corpus={"default": "unsup_union", "help": "a corpus of texts in it"},
        batch={"type": int, "nargs": "*", "default": [16, 32, 64, 128]},
        **{"memory-of": {"help": "print the memory of one method's step and stop"}, "only": {"type": int}},
    )
    dtype = default_dtype()
    batches = [8, 16] if args.quick else args.batch
    texts = corpus_texts(args.data, args.corpus if args.data else "toy", STEPS * max(batches))
    if args.memory_of:
        print(json.dumps(memory_of(args.memory_of, texts, args.only, dtype)))
        return
    rows, runs = Rows("step", args, dtype), args.runs or (2 if args.quick else 5)
    compare_steps(rows, texts, batches, dtype, runs, "<= 1.15")
    compare_sia(rows, texts, 16, dtype, 1 if args.quick else 3)
    compare_memory(rows, [batches[0], batches[-1]], 1 if args.quick else 3)


if __name__ == "__main__":
    main()
