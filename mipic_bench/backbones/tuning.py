"""Ways to train a large backbone in little memory: recomputed activations, and low-rank adapters (LoRA)."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

import torch

from mipic_bench.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from mipic_bench.backbones.model import Backbone


def recompute_activations(backbone: "Backbone") -> None:
    """Switch gradient checkpointing on: blocks keep their inputs only, and run again in the backward pass.

    Raises:
        UserError: the architecture does not support it.
    """
    model = backbone.model
    if not model.supports_gradient_checkpointing:
        raise UserError(
            f"backbone {backbone.name}",
            f"a {model.config.model_type} does not support gradient checkpointing",
            "leave it off, and take a smaller batch",
        )
    # renamed during transformers 5; without re-entry, hidden states caught inside a block keep their gradient
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable({"use_reentrant": False})


def add_lora(backbone: "Backbone", rank: int = 16, alpha: float = 32.0, dropout: float = 0.05, seed: int = 0) -> int:
    """Freeze a backbone and put trainable low-rank adapters beside every linear map of its blocks (Hu et al., arXiv 2106.09685).

    Args:
        backbone: changed in place; `cut` and checkpoints of `cut` hold the merged weights.
        rank: of each adapter.
        alpha: adapters are scaled by alpha / rank.
        dropout: on the adapters' input; it makes two SimCSE views differ where the backbone itself has no dropout.
        seed: of the adapters' first values.

    Returns:
        The number of trainable weights.

    Raises:
        UserError: peft is not installed, or the blocks have no `nn.Linear` (GPT-2's maps are of another class).
    """
    try:
        peft: Any = import_module("peft")
    except ImportError as error:
        raise UserError("lora", "peft is not installed", "pip install 'mipic-bench[lora]'") from error
    path = backbone.architecture.blocks
    linear = [name for name, module in backbone.model.named_modules() if isinstance(module, torch.nn.Linear)]
    targets = [name for name in linear if name.startswith(f"{path}.")]
    if not targets:
        what = f"the blocks of {backbone.name} hold no linear map that adapters could stand beside"
        raise UserError("lora", what, "train all weights: leave lora out")
    with torch.random.fork_rng(devices=[]):  # peft draws from the global generator, which is not ours to move
        torch.random.manual_seed(seed)
        peft.inject_adapter_in_model(
            peft.LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=targets), backbone.model
        )
    backbone.train(backbone.training)  # the new modules are in training mode whatever the backbone was in
    trainable = [weight for name, weight in backbone.model.named_parameters() if "lora_" in name]
    backbone.model.requires_grad_(False)
    for weight in trainable:
        weight.requires_grad_(True)
    return sum(weight.numel() for weight in trainable)


def merged(model: "PreTrainedModel") -> "PreTrainedModel":
    """Fold adapters into the maps they stand beside, in place; a model without adapters is returned as it is."""
    adapted = [(name, module) for name, module in model.named_modules() if hasattr(module, "get_base_layer")]
    for name, module in adapted:
        owner, _, attribute = name.rpartition(".")
        module.merge()
        setattr(model.get_submodule(owner), attribute, module.get_base_layer())
    if adapted:
        model.requires_grad_(True)
        del model.peft_config
    return model
