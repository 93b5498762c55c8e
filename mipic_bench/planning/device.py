"""Where a command computes, and in which arithmetic."""

import torch

from mipic_bench.errors import UserError


def resolve_device(device: str) -> str:
    """Return the device to use: as asked, else a CUDA card, else the CPU.

    Raises:
        UserError: there is no such device here.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind, sign, number = device.partition(":")
    there = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if kind not in there or (sign and not (number.isascii() and number.isdigit())):
        raise UserError("--device", f"'{device}' is no device", "write auto, cpu, cuda, cuda:1 or mps")
    if int(number or 0) >= there[kind]:
        raise UserError("--device", f"'{device}' was asked for, {there[kind]} {kind} devices are here", "write auto")
    return device


def resolve_dtype(dtype: str, device: str) -> str:
    """Return the arithmetic to use: as asked, else bfloat16 where the hardware has it, else float32.

    Raises:
        UserError: float16 on a device that cannot train in it.
    """
    if dtype == "float16" and not device.startswith("cuda"):
        raise UserError("--dtype", f"float16 needs a CUDA card, the device is {device}", "write float32 or bfloat16")
    if dtype != "auto":
        return dtype
    if device.startswith("cuda"):
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    capabilities = torch.cpu.get_capabilities()
    return "bfloat16" if capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") else "float32"
