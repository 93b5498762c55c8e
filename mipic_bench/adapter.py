"""A recipe as a loss for sentence-transformers: `MipicLoss(model)` where `MatryoshkaLoss(model, ...)` would stand."""

from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import pad

from mipic_bench.backbones import Backbone, Readout, architectures
from mipic_bench.backbones.model import catching
from mipic_bench.backbones.probing import probe
from mipic_bench.backbones.readout import MODES
from mipic_bench.backbones.sources import ENTRIES
from mipic_bench.errors import UserError, raise_all, unknown
from mipic_bench.recipes.methods import changed, find
from mipic_bench.recipes.recipe import Recipe
from mipic_bench.recipes.resolved import Resolved, resolve, term_name
from mipic_bench.states import States, pool
from mipic_bench.training.trainer import heads_of

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

Features = dict[str, Any]
_POOLING = {told: pooling for pooling, told in MODES.items()}
_WITHOUT_EFFECT = ("Normalize", "Dropout")  # modules behind the pooling that leave directions as they are
_PADDED = ("attention_mask", "token_type_ids")


@dataclass(frozen=True)
class _Hidden:
    """Keeps modules out of sight of `torch.nn.Module`, which would count their weights twice."""

    backbone: Backbone
    teacher: Any


class MipicLoss(torch.nn.Module):
    r"""A recipe's terms, as a loss of a `SentenceTransformerTrainer`.

    All columns of a batch go through the model as one batch of rows, once; the terms read the hidden states that the blocks
    write. The value is that of this project's own trainer on the same batch. Rows of a dataset: one column of texts (two
    dropout views of each), pairs, or triplets; a `score` or `label` column holds the gold similarities of scored pairs.

    How the model is trained (rate, batches, epochs, length of texts) is the trainer's and the model's, not the recipe's. What makes
    a method of its own and is no loss is refused: a transform fitted afterwards, adapters, another pooling than the model's.

    The trainable heads of the terms are part of the loss and are trained with it, at the trainer's rate; this project's own
    trainer has them learn at twice that rate (`learning_rate_mapping={r"heads\..*": 4e-5}` does so here). Like all weights
    inside losses of sentence-transformers they are not synchronized between several processes, and the trainer's checkpoints
    do not hold them: to resume a training as it was, save `loss.state_dict()` (it has the count of steps too) and load it.

    Args:
        model: a `SentenceTransformer` of a transformer and a pooling (cls, mean or last token).
        recipe: a method's name as `mipic-bench list methods` gives it, the path of a TOML file, or a `Recipe`.
        changes: TOML assignments put over the recipe, as `--set` takes them.
        backbone: the table name of the model (`mipic-bench list backbones`), for what a recipe changes on it.
        seed: of the heads' first values and of what terms draw at random.
        components: return every weighted term under its name instead of their sum; the trainer adds and logs them.

    Raises:
        UserError: a recipe without terms, unknown, made for other shapes or with parts that a loss cannot carry out; a model that
            is read out in another way.

    Example::

        model = SentenceTransformer("microsoft/mpnet-base")
        loss = MipicLoss(model, "mipic")
        SentenceTransformerTrainer(model=model, train_dataset=pairs, loss=loss).train()
    """

    def __init__(
        self,
        model: "SentenceTransformer",
        recipe: str | Path | Recipe = "mipic",
        *,
        changes: str | Sequence[str] = (),
        backbone: str = "",
        seed: int = 0,
        components: bool = False,
    ) -> None:
        super().__init__()
        if backbone and backbone not in ENTRIES:
            raise unknown("backbone", backbone, ENTRIES, "MipicLoss")
        view = _view(model)
        self.recipe = resolve(_one(recipe, changes), view.shape, backbone)
        _refuse_more_than_a_loss(self.recipe, view.readout.pooling)
        self.model = model
        self.seed, self.step, self.components = seed, 0, components
        self.heads = heads_of(self.recipe, seed)
        teacher = deepcopy(model).eval().requires_grad_(False) if self.recipe.needs_teacher else None
        self._hidden = _Hidden(view, teacher)

    def forward(
        self, sentence_features: Iterable[Features], labels: torch.Tensor | None = None
    ) -> torch.Tensor | dict[str, torch.Tensor]:
        """Return the weighted sum of the recipe's terms on a batch, or each of them if `components` was asked for.

        Args:
            sentence_features: per column of the dataset what the model's `preprocess` gave: `input_ids` and `attention_mask`,
                both (batch, token).
            labels: (batch,) gold similarities of two columns' pairs; None otherwise.
        """
        values = self.terms(sentence_features, labels)
        weighted = {name: self.recipe.terms[name].weight * value for name, value in values.items()}
        return weighted if self.components else torch.stack(list(weighted.values())).sum()

    def terms(
        self, sentence_features: Iterable[Features], labels: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """Return the unweighted value of each term on a batch; arguments as `forward` has them."""
        columns = list(sentence_features)
        self._check(columns, labels)
        # unlabelled text is its own positive: two dropout views of it in one forward
        columns = columns * 2 if len(columns) == 1 else columns
        states = self._states(columns, labels)
        self.step += self.model.training  # a trainer that evaluates says so to the model alone
        return self.recipe.values(states, self.heads.train(self.model.training))

    def get_extra_state(self) -> torch.Tensor:
        """Return the count of training steps, which decides what terms draw at random next."""
        return torch.tensor(self.step)

    def set_extra_state(self, state: torch.Tensor) -> None:
        """Go on from a count of training steps."""
        self.step = int(state)

    def _states(self, columns: Sequence[Features], labels: torch.Tensor | None) -> States:
        """Run the model once over all columns and gather what the terms read."""
        backbone = self._hidden.backbone
        features = merge(columns, backbone.pad_id, backbone.tokenizer.padding_side)
        features = _never_empty(features, backbone.blank_id, backbone.tokenizer.padding_side)
        ids, mask = features["input_ids"], features["attention_mask"]
        known = torch.tensor(sorted(backbone.special_ids), dtype=ids.dtype, device=ids.device)
        special = torch.isin(ids, known) & mask.bool()
        scores = None if labels is None else labels.detach().float()
        return States(
            hidden=self._read(dict(features)),
            mask=mask,
            special=special,
            pooling=backbone.readout.pooling,
            parts=len(columns),
            same=_same(ids.masked_fill(mask == 0, -1), len(columns)),
            scores=scores,
            draw=self._draw(),
            teacher=self._teacher(dict(features)),
        )

    def _draw(self) -> int:
        """Return the seed of what terms draw at random in this step."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.step)
        return int(torch.randint(2**62, (), generator=generator))

    def _read(self, features: Features) -> dict[int, torch.Tensor]:
        """Return layer -> token states, (row, token, dim), from one pass through the model as it is wrapped now."""
        backbone, layers = self._hidden.backbone, self.recipe.layers
        caught: dict[int, torch.Tensor] = {}
        with catching(backbone.blocks, layers, caught):
            last = self.model(features)["token_embeddings"]
        norm = backbone.final_norm if backbone.readout.layer_readout == "final_norm" else None
        depth = backbone.shape.depth
        read = {layer: caught[layer] if norm is None else norm(caught[layer]) for layer in layers if layer < depth}
        return read | ({depth: last} if depth in layers else {})

    def _teacher(self, features: Features) -> torch.Tensor | None:
        """Return the vectors of the model as it was, (row, dim), when a term needs them."""
        if self._hidden.teacher is None:
            return None
        with torch.no_grad():
            mask = features["attention_mask"]
            tokens = self._hidden.teacher.to(mask.device)[0](features)["token_embeddings"]
            return pool(tokens, mask, self._hidden.backbone.readout.pooling)

    def _check(self, columns: Sequence[Features], labels: torch.Tensor | None) -> None:
        """Refuse batches that the terms cannot read."""
        where = f"loss {self.recipe.method}"
        if not 1 <= len(columns) <= 3:
            raise UserError(where, f"the dataset has {len(columns)} columns of text", "give one, two or three")
        if any("cu_seq_lens_q" in column or "attention_mask" not in column for column in columns):
            raise UserError(where, "the rows of a batch are packed into one", "set model[0].unpad_inputs = False")
        if len(columns) == 1 and self.model.training and not self._hidden.backbone.has_dropout:
            what = "the model has no dropout, so the two views of each text would be equal"
            raise UserError(where, what, "give pairs or triplets")
        if labels is not None and len(columns) != 2:
            what = f"the dataset has a label beside {len(columns)} column{'s' * (len(columns) > 1)} of text; scores are of two"
            raise UserError(where, what, "take the label away: dataset.remove_columns('label')")
        kind = "scored" if labels is not None else ("text", "pairs", "triplets")[len(columns) - 1]
        told = {name: term.refusal(kind) for name, term in self.recipe.terms.items()}
        raise_all([UserError(f"{where}: terms.{name}", why, "take other data") for name, why in told.items() if why])

    def get_config_dict(self) -> dict[str, Any]:
        """Return what the model card of sentence-transformers says of the loss."""
        return {"recipe": self.recipe.method, **self.recipe.identity()}


def merge(columns: Sequence[Features], pad_id: int, side: str) -> Features:
    """Put the columns of a batch under each other: rows = columns x batch, padded to one length.

    Args:
        columns: per column `input_ids` and `attention_mask`, (batch, token) with lengths of their own.
        pad_id: what fills `input_ids`.
        side: where a row is filled, "left" or "right".

    Returns:
        (row, token) tensors; other values, the same for every column, are kept.
    """
    longest = max(column["input_ids"].shape[1] for column in columns)

    def wide(column: Features, name: str) -> torch.Tensor:
        missing = longest - column[name].shape[1]
        return pad(
            column[name], (missing, 0) if side == "left" else (0, missing), value=pad_id if name == "input_ids" else 0
        )

    names = ["input_ids", *(name for name in _PADDED if all(name in column for column in columns))]
    kept = {name: value for name, value in columns[0].items() if not isinstance(value, torch.Tensor)}
    return kept | {name: torch.cat([wide(column, name) for column in columns]) for name in names}


def _never_empty(features: Features, blank_id: int, side: str) -> Features:
    """Give a text without tokens one, as `Backbone.tokenize` does: every pooling needs one to read."""
    empty = features["attention_mask"].sum(1) == 0
    if not empty.any():
        return features
    ids, mask = features["input_ids"].clone(), features["attention_mask"].clone()
    place = -1 if side == "left" else 0
    ids[empty, place], mask[empty, place] = blank_id, 1
    return features | {"input_ids": ids, "attention_mask": mask}


def _same(rows: torch.Tensor, parts: int) -> torch.Tensor:
    """Return where two examples hold an equal text, (batch, batch).

    Equal is what has the same tokens, for no more reaches a loss; batches of `run` compare the texts themselves.
    [n, j]: positive j repeats n's positive or its anchor, or anchor j repeats n's.
    """
    anchors, positives = rows.chunk(parts)[:2]

    def equal(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        return (one.unsqueeze(1) == other).all(-1)

    return equal(positives, positives) | equal(anchors, positives) | equal(anchors, anchors)


def _one(recipe: str | Path | Recipe, changes: str | Sequence[str]) -> Recipe:
    """Return the one method that is meant."""
    changes = [changes] if isinstance(changes, str) else changes
    if isinstance(recipe, Recipe):
        return changed(recipe, changes)
    found = find([str(recipe)], changes)
    if len(found) > 1:
        names = ", ".join(one.method for one in found[:5])
        raise UserError("recipe", f"'{recipe}' stands for {len(found)} methods: {names}, ...", "name one")
    return found[0]


def _refuse_more_than_a_loss(recipe: Resolved, pooling: str) -> None:
    """Refuse a recipe that a loss cannot carry out whole: the model would be another method under its name."""
    where, own = f"recipe {recipe.method}", recipe.training
    if not recipe.trains:
        raise UserError(where, "has no terms, so it is no loss", "take another, such as 'mipic'")
    if recipe.per_dim:
        raise UserError(where, "trains one model per width, which is no single loss", "take another, such as 'mrl'")
    problems = []
    if recipe.posthoc is not None:
        what = f"fits '{term_name(recipe.posthoc)}' on the trained vectors, which a loss cannot do"
        fix = "train it with `mipic-bench run`, or take a recipe without posthoc, such as 'mrl'"
        problems.append(UserError(f"{where}: posthoc", what, fix))
    if own.lora:
        what = f"trains adapters of rank {own.lora}, which a loss cannot add to the model"
        fix = "take it out of the recipe, and give the model adapters yourself (model.add_adapter)"
        problems.append(UserError(f"{where}: training.lora", what, fix))
    if own.pooling not in (None, pooling):
        what = f"is '{own.pooling}', the model's pooling is '{pooling}'"
        fix = f"build the model with pooling '{own.pooling}', or give changes=['training.pooling = \"{pooling}\"']"
        problems.append(UserError(f"{where}: training.pooling", what, fix))
    raise_all(problems)


def _view(model: "SentenceTransformer") -> Backbone:
    """Return a view of a sentence-transformers model as a backbone; it shares the model's weights.

    Raises:
        UserError: it is not a transformer with a pooling that is known here, or its vectors pass another trained module.
    """
    modules = list(model)
    kinds = [type(module).__name__ for module in modules]
    if kinds[:2] != ["Transformer", "Pooling"]:
        raise UserError(
            "model", f"its modules are {', '.join(kinds)}", "take one that begins with Transformer, Pooling"
        )
    other = [kind for kind in kinds[2:] if kind not in _WITHOUT_EFFECT]
    if other:
        what = f"its {other[0]} module stands behind the pooling, where hidden states do not show it"
        raise UserError("model", what, "take the module off: SentenceTransformer(modules=[model[0], model[1]])")
    transformer: Any = modules[0]
    pooling: Any = modules[1]
    if pooling.pooling_mode not in _POOLING:
        what = f"its pooling is {pooling.pooling_mode}; known here are {', '.join(_POOLING)}"
        raise UserError("model", what, "build it with one of those")
    inner = transformer.auto_model
    if not pooling.include_prompt:
        raise UserError("model", "its pooling leaves prompts out", "build it with include_prompt=True")
    # an unlisted architecture must run to be known: on a copy, whatever device and mode the model is in
    architecture = architectures.known(inner.config.model_type) or probe(deepcopy(inner).cpu().float().eval(), "model")
    readout = Readout(_POOLING[pooling.pooling_mode], "final_norm" if architecture.final_norm else "raw")
    return Backbone(inner, transformer.tokenizer, architecture, readout, name="model", source="")
