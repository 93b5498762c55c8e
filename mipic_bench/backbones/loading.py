"""Build a backbone from a folder: safetensors weights only, no remote code, float32, ready to score."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from logging import ERROR
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from mipic_bench.backbones import architectures, digests, folder, kernels, tiny
from mipic_bench.backbones.folder import Folder
from mipic_bench.backbones.model import Backbone, shorten
from mipic_bench.backbones.probing import probe
from mipic_bench.backbones.readout import LAYER_READOUTS, POOLINGS, Readout
from mipic_bench.backbones.sources import ENTRIES, Located, locate
from mipic_bench.errors import UserError, readable, unknown

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def load(
    name: str,
    *,
    pooling: str | None = None,
    layer_readout: str | None = None,
    offline: bool = False,
    verify: bool = False,
    weights: bool = True,
) -> Backbone:
    """Load a backbone with float32 weights, in evaluation mode, on the CPU.

    Args:
        name: a name of the table, a folder, or a hub id (also `ID@REVISION`).
        pooling: "cls", "mean" or "last"; the backbone's own default when None.
        layer_readout: "raw" or "final_norm"; when None, "final_norm" for pre-norm models. Post-norm models are always "raw".
        offline: never ask the hub, use its cache only.
        verify: compute the weights' digests anew instead of trusting those remembered.
        weights: False builds the backbone without its weights, in no memory and little time: everything but `hidden` and
            `cut` can be asked of it. An architecture that is not listed is loaded all the same, it must run to be known.

    Raises:
        UserError: an unknown name, pooling or readout; a hub that cannot be reached; weights that are missing, damaged, not
            safetensors, or not those of the table; a model that needs its own code; a causal model with cls pooling.
    """
    check_words(name, pooling, layer_readout)
    if name == "tiny":
        return _tiny(pooling)
    located = locate(name, offline)
    files = folder.read(located.folder)
    check_file(located, files, verify)
    where = f"backbone {located.name}"
    digest = weights_of(located, files, verify)
    tokenizer_digest = digests.tokenizer_digest(files.transformer, where, files.lowercase)
    model, tokenizer = _from_folder(located, files, weights)
    architecture = architectures.known(model.config.model_type) or probe(model, located.name)
    entry = located.entry
    if entry is not None and entry.layers is not None:
        model = shorten(model, architecture, entry.layers)
    kernels.install(model)
    return Backbone(
        model,
        tokenizer,
        architecture,
        settle(
            located, files, pooling, layer_readout, causal=architecture.causal, normed=bool(architecture.final_norm)
        ),
        name=located.name,
        source=located.source,
        licence=entry.licence if entry else "",
        weights_digest=digest,
        tokenizer_digest=tokenizer_digest,
        notes=files.notes,
        lowercase=files.lowercase,
    ).eval()


def check_words(name: str, pooling: str | None, layer_readout: str | None = None) -> None:
    """Refuse a pooling or a layer readout that there is not."""
    for kind, value, allowed in (("pooling", pooling, POOLINGS), ("layer readout", layer_readout, LAYER_READOUTS)):
        if value is not None and value not in allowed:
            raise unknown(kind, value, allowed, f"backbone {name}")


def weights_of(located: Located, files: Folder, verify: bool = False) -> str:
    """Return the digest of a backbone's weights and of what they are computed with.

    The configuration counts unless the table pins the file, and how many layers are taken if not all are.
    """
    where = f"backbone {located.name}"
    digest = digests.weights_digest(files.transformer, verify, where)
    if located.entry is None or not located.entry.sha256:
        config = digests.config_digest(files.transformer, where)
        digest = hashlib.sha256(f"{digest} computed by {config}".encode()).hexdigest()
    if located.entry is None or located.entry.layers is None:
        return digest
    return hashlib.sha256(f"{digest} first {located.entry.layers} layers".encode()).hexdigest()


def _tiny(pooling: str | None) -> Backbone:
    entry = ENTRIES["tiny"]
    model, tokenizer = tiny.model(), tiny.tokenizer()
    kernels.install(model)
    return Backbone(
        model,
        tokenizer,
        architectures.BERT,
        Readout(pooling or entry.pooling, "raw"),
        name=entry.name,
        source="random",
        licence=entry.licence,
        weights_digest=tiny.digest(model),
        tokenizer_digest=hashlib.sha256("\n".join(tiny.vocabulary()).encode()).hexdigest(),
    ).eval()


def check_file(located: Located, files: Folder, verify: bool = False) -> None:
    """Refuse weights that are not those the table names."""
    if located.entry is None or not located.entry.sha256:
        return
    for path in digests.weight_files(files.transformer):
        with readable(f"backbone {located.name}"):
            found = digests.file_digest(path, verify)
        if found != located.entry.sha256:
            raise UserError(
                f"backbone {located.name}",
                f"{path.name} from {located.source} has the sha256 {found}, not {located.entry.sha256}",
                "the file is damaged or another model: install the package again, or empty the hub's cache of it",
            )


def _from_folder(located: Located, files: Folder, weights: bool) -> tuple["PreTrainedModel", Any]:
    """Read model and tokenizer with transformers, turning its errors into ours."""
    from safetensors import SafetensorError
    from transformers import AutoTokenizer

    try:
        # missing poolers are drawn from the global generator, which is not ours to move
        with quiet(), torch.random.fork_rng(devices=[]):
            model = _model(files.transformer, f"backbone {located.name}", weights)
            tokenizer = AutoTokenizer.from_pretrained(files.transformer, trust_remote_code=False)
            if files.lowercase:
                _lowercase(tokenizer)
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise _unreadable(located, error) from error
    embedding: Any = model.get_input_embeddings()
    if len(tokenizer) > (rows := embedding.weight.shape[0]):
        raise UserError(
            f"backbone {located.name}",
            f"its tokenizer has {len(tokenizer)} tokens, its model only {rows}",
            "the two do not belong together: check the folder's files",
        )
    return model, tokenizer


def _lowercase(tokenizer: Any) -> None:
    """Lowercase texts before anything else is done to them, as `do_lower_case` of a sentence-transformers folder asks."""
    from tokenizers.normalizers import Lowercase, Sequence

    own = tokenizer.backend_tokenizer.normalizer
    tokenizer.backend_tokenizer.normalizer = Lowercase() if own is None else Sequence([Lowercase(), own])


def _model(path: Path, where: str, weights: bool) -> "PreTrainedModel":
    """Build the model of a folder, with its weights or on torch's meta device."""
    from transformers import AutoConfig, AutoModel

    if not (path / "config.json").is_file():
        raise UserError(where, f"there is no config.json in {path.name}", "give the folder that a model was saved in")
    config = AutoConfig.from_pretrained(path, trust_remote_code=False)
    if config.is_encoder_decoder:
        raise UserError(
            where, f"a {config.model_type} is an encoder with a decoder", "take an encoder, or a decoder alone"
        )
    if not weights and architectures.known(config.model_type):
        with torch.device("meta"):
            bare: PreTrainedModel = AutoModel.from_config(config)  # type: ignore[no-untyped-call]
        return bare
    model, report = AutoModel.from_pretrained(
        path,
        config=config,
        dtype=torch.float32,
        use_safetensors=True,
        trust_remote_code=False,
        output_loading_info=True,
        ignore_mismatched_sizes=True,  # they are refused below, in our words
    )
    _check_complete(model, report, where)
    built: PreTrainedModel = model
    return built


def _unreadable(located: Located, error: Exception) -> UserError:
    """Tell what transformers says in one line, and that code from a model is never run."""
    text = str(error).strip() or type(error).__name__
    own_code = "trust_remote_code" in text
    what = "it needs code of its own" if own_code else f"transformers cannot load it: {text.splitlines()[0]}"
    fix = (
        "code that comes with a model is never run: take a model that transformers knows"
        if own_code
        else "check its files"
    )
    return UserError(f"backbone {located.name}", f"{located.source}: {what}", fix)


def _check_complete(model: "PreTrainedModel", report: Mapping[str, Any], where: str) -> None:
    """Refuse a model with weights that no file gave; a pooler that no file gave is taken off, it is never used."""
    fix = "config.json and the weights do not belong together: check the folder's files"
    for name, found, wanted in sorted(report["mismatched_keys"]):
        raise UserError(where, f"tensor {name} has the shape {tuple(found)}, config.json asks for {tuple(wanted)}", fix)
    missing = sorted(report["missing_keys"])
    lacking = [key for key in missing if not key.startswith("pooler.")]
    if lacking:
        raise UserError(where, f"its weights lack {len(lacking)} tensors, the first {lacking[0]}", fix)
    if missing:
        setattr(model, "pooler", None)  # noqa: B010 - declared on some classes only


@contextmanager
def quiet() -> Iterator[None]:
    """Still transformers' progress bars and loading report for a moment, and leave them as they were."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(ERROR)
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def settle(
    located: Located, files: Folder, pooling: str | None, layer_readout: str | None, *, causal: bool, normed: bool
) -> Readout:
    """Settle how a backbone is read out: what was asked, else the table, else the folder's own word, else the rule.

    Args:
        located, files: the backbone.
        pooling, layer_readout: what was asked, or None.
        causal: whether a token sees only those before it. normed: whether a norm stands behind the last block.

    Raises:
        UserError: cls pooling on a causal model; a pooling of the folder's own that is not known here.
    """
    if pooling is None and located.entry is not None:
        pooling = located.entry.pooling
    if pooling is None:
        pooling = files.pooling() or ("last" if causal else "mean")
    if pooling == "cls" and causal:
        raise UserError(
            f"backbone {located.name}",
            "pooling 'cls' on a causal model: its first token sees only itself, so all texts that begin alike would be equal",
            "use pooling 'last' or 'mean'",
        )
    return Readout(pooling, layer_readout or "final_norm" if normed else "raw")
