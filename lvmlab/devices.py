"""Where to compute."""

import torch


def pick(device: str | torch.device = "auto") -> torch.device:
    """The device to compute on: an accelerator when there is one and "auto" is asked for.

    "auto" prefers CUDA, then Apple's MPS, then the CPU. Raises `ValueError` for a device that is
    unknown or not here.
    """
    if isinstance(device, torch.device):
        return device
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        wanted = torch.device(device)
    except RuntimeError as error:
        raise ValueError(
            f'device must be "auto", "cpu", "cuda", "cuda:1", "mps", ..., got {device!r}'
        ) from error
    here = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if not here.get(wanted.type, True):
        raise ValueError(f'device {device!r} is not available here: try device="auto"')
    return wanted


def coarse_dtype() -> torch.dtype | None:
    """bfloat16 where this machine's processor multiplies in it, else None."""
    here: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    able = torch.cuda.is_available() or here.get("avx512_bf16") or here.get("amx_bf16")
    return torch.bfloat16 if able else None
