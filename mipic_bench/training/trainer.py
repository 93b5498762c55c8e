"""The optimization loop and nothing else: batches in, one weighted sum of terms down, every term logged."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import islice
from time import perf_counter
from typing import TYPE_CHECKING, Any, cast

import torch

from mipic_bench.backbones import Backbone, Card
from mipic_bench.backbones.tuning import add_lora, merged, recompute_activations
from mipic_bench.corpora import Corpus
from mipic_bench.encoding.embed import encode
from mipic_bench.errors import UserError, raise_all
from mipic_bench.objectives import Term
from mipic_bench.recipes.resolved import Resolved
from mipic_bench.recipes.schema import Training
from mipic_bench.states import States
from mipic_bench.training.batches import Batch, Batches
from mipic_bench.training.checkpoint import Saver
from mipic_bench.training.memory import keep_freed
from mipic_bench.training.vocabulary import only_used_rows

if TYPE_CHECKING:
    from accelerate import Accelerator

VERSION = 2  # raised by hand when the numbers of training change: part of every key


class TrainingError(RuntimeError):
    """Training cannot go on: a loss that is not finite, with the step and the term named."""


@dataclass
class History:
    """What training did: one entry per logged step, and the totals for the provenance."""

    steps: int = 0
    seconds: float = 0.0
    pairs: int = 0
    entries: list[dict[str, Any]] = field(default_factory=list)
    resumed: bool = False


class Objective(torch.nn.Module):
    """A backbone, the heads of a recipe's terms, and their weighted sum on a batch."""

    def __init__(self, backbone: Backbone, recipe: Resolved, seed: int) -> None:
        super().__init__()
        self.backbone, self.recipe = backbone, recipe
        self.heads = heads_of(recipe, seed)

    def forward(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Run the backbone once over the batch and return every term's unweighted value."""
        hidden = self.backbone.hidden(batch.input_ids, batch.mask, self.recipe.layers)
        pooling = self.backbone.readout.pooling
        own = (batch.parts, batch.same, batch.scores, batch.draw, batch.teacher)
        states = States(hidden, batch.mask, batch.special, pooling, *own)
        return self.recipe.values(states, self.heads)


def heads_of(recipe: Resolved, seed: int) -> torch.nn.ModuleDict:
    """Return what terms train of their own, as it starts; no two start alike.

    Raises:
        UserError: a term that trains something is called as a part of torch's own.
    """
    made = {name: term.heads(recipe.nesting, head_generator(seed, name)) for name, term in recipe.terms.items()}
    heads = {name: head for name, head in made.items() if head is not None}
    starts = Counter(head_generator(seed, name).initial_seed() for name in heads)
    for name in heads:
        if starts[head_generator(seed, name).initial_seed()] > 1:
            again = recipe.terms[name].heads(recipe.nesting, head_generator(seed, name, whole=True))
            heads[name] = cast("torch.nn.Module", again)
    taken = [name for name in heads if hasattr(torch.nn.ModuleDict(), name)]  # such as "train" or "half"
    what, fix = "trains weights of its own, which torch keeps under no such name", "give the term another name"
    raise_all([UserError(f"{recipe.method}: terms.{name}", what, fix) for name in taken])
    return torch.nn.ModuleDict(heads)


def head_generator(seed: int, name: str, *, whole: bool = False) -> torch.Generator:
    """Return the generator of one term's heads: its own, so that leaving out a term changes no other term's start.

    Only the low 32 bits of a seed count on the CPU, so that term and seed must meet there: of a name its letters 3 to 6 (of a
    shorter one its last four), or a hash of the `whole` name, for terms that are alike in those.
    """
    own = sha256(name.encode()).digest()[:4] if whole else name.encode()[:6]
    return torch.Generator().manual_seed((int.from_bytes(own, "big") + seed * 0x9E3779B1) % 2**32)


def train(
    backbone: Backbone,
    recipe: Resolved,
    corpus: Corpus,
    seed: int,
    accelerator: "Accelerator",
    on_step: Callable[[int, int, dict[str, Any]], None] | None = None,
    log_every: int = 10,
    saver: Saver | None = None,
    diagnostics: bool = False,
) -> History:
    """Train a backbone in place by a recipe; go on where a checkpoint of this very training stands.

    Args:
        backbone: changed in place; left in evaluation mode, adapters folded in.
        recipe: resolved on this backbone.
        corpus: unlabelled text, pairs, triplets or scored pairs.
        seed: decides the data order, the heads' start and the dropout.
        accelerator: device, precision, accumulation.
        on_step: called after every optimizer step with (step, steps, entry).
        log_every: steps between two entries of the history.
        saver: keeps and gives back the training's checkpoint; what was interrupted ends in the same weights, bit for
            bit on the CPU in float32 with the same number of threads.
        diagnostics: whether the history's entries also hold "shares": for each term its `gradient_norms`, summed over the
            step's batches, divided by the sum over all terms. The training is the same, bit for bit; the time counts.

    Returns:
        The history.

    Raises:
        UserError: when unlabelled text meets a backbone without dropout, or a term cannot train on this kind of corpus.
        TrainingError: when a term is not finite.
    """
    settings = recipe.training
    if settings.lora:
        add_lora(backbone, settings.lora, alpha=2 * settings.lora, seed=seed)
    if settings.recompute:
        recompute_activations(backbone)
    check_views(backbone, corpus, settings)
    check_kind(recipe, corpus)
    keep_freed()
    torch.manual_seed(seed)  # dropout inside transformers draws from the global generator
    batches = Batches(backbone, corpus, settings, seed)
    if recipe.needs_teacher:
        batches.teacher = teacher_vectors(backbone, batches.texts, settings.max_length)
    steps = step_count(len(batches), settings)
    with only_used_rows(backbone, batches, _shrunk(settings, steps)):
        objective = Objective(backbone, recipe, seed)
        objective, optimizer = accelerator.prepare(objective, make_optimizer(objective, settings))
        objective.train()
        resumed = saver.resume(objective, optimizer, accelerator.scaler) if saver else None
        history = History(**{**resumed["history"], "resumed": True}) if resumed else History()
        start = perf_counter() - history.seconds
        for window in _windows(batches, settings, steps, history.steps):
            step = history.steps + 1
            set_rate(optimizer, settings, step, steps)
            due = step % log_every == 0 or step in (1, steps)
            entry = _step(objective, optimizer, window, recipe.terms, settings, accelerator, step, diagnostics and due)
            history.pairs += sum(len(batch.same) for batch in window)
            history.steps, history.seconds = step, perf_counter() - start
            if due:
                history.entries.append(entry)
            if saver is not None:
                saver.offer(objective, optimizer, accelerator.scaler, {"history": vars(history)}, last=step == steps)
            if on_step is not None:
                on_step(step, steps, entry)
    merged(backbone.model)
    backbone.eval()
    return history


def _shrunk(settings: Training, steps: int) -> float:
    """Return what weight decay multiplies a weight without a gradient by, over all steps."""
    return math.prod(1 - rate(settings, step, steps) * settings.weight_decay for step in range(1, steps + 1))


def step_count(batches: int, settings: Training) -> int:
    """Return the number of optimizer steps of a training with so many batches per epoch."""
    return min(settings.max_steps or 10**12, settings.epochs * math.ceil(batches / settings.accumulation))


def check_views(backbone: Backbone | Card, corpus: Corpus, settings: Training) -> None:
    """Refuse unlabelled text on a backbone without dropout: its two views would be the same vector. Adapters have their own."""
    if corpus.kind == "text" and not backbone.has_dropout and not settings.lora:
        raise UserError(
            f"backbone {backbone.name}",
            f"has no dropout, so the two views of each text of corpus '{corpus.name}' would be equal",
            "train it on pairs or triplets, with adapters (training.lora), or take a backbone with dropout",
        )


def check_kind(recipe: Resolved, corpus: Corpus) -> None:
    """Refuse a corpus of a kind that a term cannot train on."""
    for name, term in recipe.terms.items():
        if why := term.refusal(corpus.kind):
            what = f"{why}; corpus '{corpus.name}' holds {corpus.kind}"
            raise UserError(f"{recipe.method}: terms.{name}", what, "take another corpus, or change the term")


def gradient_norms(
    values: Mapping[str, torch.Tensor], terms: Mapping[str, Term], parameters: Sequence[torch.nn.Parameter]
) -> dict[str, float]:
    """Return how hard each term pulls at the encoder in one batch: the norm of the gradient of its weight times its value.

    Args:
        values: term -> its unweighted value on the batch, a scalar; their graph is kept for the ordinary backward.
        terms: term -> its settings, for the weight.
        parameters: the backbone's; heads of terms do not count.

    Returns:
        Term -> the Euclidean norm over all parameters together, before clipping, which sees only the terms' sum. Gradients
        of two terms may cancel, so the norms add up to no less than that sum's.
    """
    norms = {}
    for name, value in values.items():
        if not value.requires_grad:  # a constant, such as a chain of one checkpoint
            norms[name] = 0.0
            continue
        weighted = terms[name].weight * value
        found = torch.autograd.grad(weighted, parameters, retain_graph=True, allow_unused=True)
        norms[name] = float(torch.nn.utils.get_total_norm([gradient for gradient in found if gradient is not None]))
    return norms


def teacher_vectors(backbone: Backbone, texts: Sequence[str], max_length: int) -> torch.Tensor:
    """Return the last layer's read-outs of some texts by the backbone as it is now, (text, dim), on the CPU."""
    last, device = backbone.shape.depth, next(backbone.parameters()).device
    return torch.from_numpy(encode(backbone, texts, [last], max_length=max_length, device=device).at(last))


def trained(module: torch.nn.Module) -> list[torch.nn.Parameter]:
    """Return the weights that are not frozen."""
    return [weight for weight in module.parameters() if weight.requires_grad]


def make_optimizer(objective: Objective, settings: Training) -> torch.optim.AdamW:
    """Return AdamW with the heads in a group of their own."""
    groups = [
        {"params": trained(objective.backbone), "factor": 1.0},
        {"params": trained(objective.heads), "factor": settings.head_rate_factor},
    ]
    groups = [group for group in groups if group["params"]]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True)


def rate(settings: Training, step: int, steps: int) -> float:
    """Return the learning rate of a step (1..steps): linear warm-up, then the schedule down to the minimum rate."""
    warmup = round(settings.warmup * steps)
    if step <= warmup:
        return settings.learning_rate * step / warmup
    done = (step - 1 - warmup) / max(steps - warmup, 1)
    low = min(settings.min_learning_rate, settings.learning_rate)
    share = {"cosine": (1 + math.cos(math.pi * done)) / 2, "linear": 1 - done, "constant": 1.0}[settings.schedule]
    return low + (settings.learning_rate - low) * share


def set_rate(optimizer: Any, settings: Training, step: int, steps: int) -> None:
    """Set every group's learning rate for a step."""
    for group in optimizer.param_groups:
        group["lr"] = rate(settings, step, steps) * group["factor"]


def _windows(batches: Batches, settings: Training, steps: int, done: int) -> Iterator[list[Batch]]:
    """Yield the batches of each optimizer step that is not done yet."""
    per_epoch = math.ceil(len(batches) / settings.accumulation)
    while done < steps:
        epoch, within = divmod(done, per_epoch)
        rest = batches.epoch(epoch, within * settings.accumulation)
        while done < steps and (window := list(islice(rest, settings.accumulation))):
            yield window
            done += 1


def _step(
    objective: Any,
    optimizer: Any,
    window: Sequence[Batch],
    terms: Mapping[str, Term],
    settings: Training,
    accelerator: "Accelerator",
    step: int,
    diagnostics: bool,
) -> dict[str, Any]:
    """Make one optimizer step and return its log entry."""
    logged, norms = dict.fromkeys(terms, 0.0), dict.fromkeys(terms, 0.0)
    for batch in window:
        values = objective(_to(batch, accelerator.device))
        total = sum(terms[name].weight * value for name, value in values.items()) / len(window)
        for name, number in zip(values, torch.stack(list(values.values())).tolist(), strict=True):
            if not math.isfinite(number):
                raise TrainingError(f"step {step}: term '{name}' is {number}; lower the learning rate or its weight")
            logged[name] += number / len(window)
        if not total.requires_grad:
            what = f"{', '.join(values)} {'is' if len(values) == 1 else 'are'} constant on this backbone and these dims"
            raise TrainingError(f"step {step}: there is nothing to train: {what}")
        if diagnostics:
            for name, norm in gradient_norms(values, terms, trained(objective.backbone)).items():
                norms[name] += norm
        accelerator.backward(total)
    if settings.clip is not None:
        norm = float(accelerator.clip_grad_norm_(objective.parameters(), settings.clip))
        if not math.isfinite(norm) and accelerator.scaler is None:  # float16 finds its scale by overflowing at first
            raise TrainingError(f"step {step}: the gradient norm is {norm}; lower the learning rate")
    optimizer.step()
    optimizer.zero_grad()
    weighted = {name: terms[name].weight * value for name, value in logged.items()}
    entry = {"step": step, "loss": sum(weighted.values()), "lr": optimizer.param_groups[0]["lr"], "terms": logged}
    if 0 < (whole := sum(norms.values())) < math.inf:
        entry["shares"] = {name: norm / whole for name, norm in norms.items()}
    return entry


def _to(batch: Batch, device: torch.device) -> Batch:
    moved: dict[str, Any] = {
        name: value.to(device) if isinstance(value, torch.Tensor) else value for name, value in vars(batch).items()
    }
    return Batch(**moved)
