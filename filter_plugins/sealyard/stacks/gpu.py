"""Which cores and which GPU the proofs library of a process sees; the same for every stack."""

from __future__ import annotations

from typing import Final

from sealyard.plan.layout import Slot

NVIDIA: Final = "10de"


def proofs_environment(slot: Slot, host_has_gpu: bool, small_sectors: bool) -> dict[str, str]:
    """Return the process's environment: core units, GPU visibility.

    PC2 of a devnet's `small_sectors` stays on the CPU: it takes milliseconds, and a GPU that is missing would end it.
    """
    env: dict[str, str] = {}
    if "PC1" in slot.tasks or "UNS" in slot.tasks:
        env["FIL_PROOFS_USE_MULTICORE_SDR"] = "1" if slot.producers else "0"
        if slot.producers:
            env["FIL_PROOFS_MULTICORE_SDR_PRODUCERS"] = str(slot.producers)
    if slot.gpu is None:
        if host_has_gpu:
            env["CUDA_VISIBLE_DEVICES"] = ""
        return env
    if slot.gpu.vendor == NVIDIA or slot.gpu.vendor is None:
        env["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
        env["CUDA_VISIBLE_DEVICES"] = str(slot.gpu.index)
    else:
        env["GPU_DEVICE_ORDINAL"] = str(slot.gpu.index)
        env["FIL_PROOFS_GPU_FRAMEWORK"] = "opencl"
    if "PC2" in slot.tasks and not small_sectors:
        env["FIL_PROOFS_USE_GPU_COLUMN_BUILDER"] = "1"
        env["FIL_PROOFS_USE_GPU_TREE_BUILDER"] = "1"
    return env
