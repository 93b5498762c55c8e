"""A small random encoder and its tokenizer, built in code: the same on every machine, nothing to download."""

import hashlib
from string import ascii_lowercase, digits, punctuation
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from transformers import PreTrainedModel

DEPTH, WIDTH, SEED = 4, 64, 20260101
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def vocabulary() -> dict[str, int]:
    """Return word pieces that cover any English text: characters, and pairs of letters, at and within a word's start."""
    pairs = [first + second for first in ascii_lowercase for second in ascii_lowercase]
    letters = [*ascii_lowercase, *digits]
    pieces = [*_SPECIAL, *punctuation, *letters, *pairs, *(f"##{piece}" for piece in (*letters, *pairs))]
    return {piece: index for index, piece in enumerate(pieces)}


def tokenizer() -> Any:
    """Return a fast WordPiece tokenizer in BERT's manner over `vocabulary`."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    pieces = vocabulary()
    core = Tokenizer(models.WordPiece(pieces, unk_token="[UNK]"))
    core.normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=True)
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.post_processor = processors.BertProcessing(("[SEP]", pieces["[SEP]"]), ("[CLS]", pieces["[CLS]"]))
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), _SPECIAL, strict=True))
    build: Any = PreTrainedTokenizerFast
    return build(tokenizer_object=core, model_max_length=128, **names)


def model() -> "PreTrainedModel":
    """Return a BERT of 4 layers and width 64 with dropout 0.1, its weights drawn from a generator of our own."""
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=len(vocabulary()),
        hidden_size=WIDTH,
        num_hidden_layers=DEPTH,
        num_attention_heads=4,
        intermediate_size=2 * WIDTH,
        max_position_embeddings=128,
    )
    with torch.random.fork_rng(devices=[]):  # transformers fills the weights from the global generator first
        built = BertModel(config, add_pooling_layer=False)
    generator = torch.Generator().manual_seed(SEED)
    with torch.no_grad():
        for name, weight in built.named_parameters():
            if weight.dim() == 2:
                scale = 0.1 if "embeddings" in name else weight.shape[1] ** -0.5
                # uniform with unit variance, because rounding of normal draws differs between processors
                weight.copy_((torch.rand(weight.shape, generator=generator) - 0.5) * (12**0.5 * scale))
    return built


def digest(weights: "PreTrainedModel") -> str:
    """Return the sha256 over names, shapes and bytes of a model in memory."""
    total = hashlib.sha256()
    for name, tensor in sorted(weights.state_dict().items()):
        total.update(f"{name}{tuple(tensor.shape)}".encode())
        total.update(tensor.contiguous().numpy().tobytes())
    return total.hexdigest()
