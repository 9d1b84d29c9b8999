"""GPUs, other accelerators and display functions of the PCI bus."""

from __future__ import annotations

from .pci import Pci
from .tree import Entry, Tree

GPU_VENDORS = ("10de", "1002", "8086")
# Display functions of these vendors' server boards that no work can run on (PCI ID repository):
# Intel 0be0-0be2 and AMD ES1000 515e are console chips.
CONSOLE_CHIPS = frozenset({"1002:515e", "1002:4752", "1002:5159", "8086:0be0", "8086:0be1", "8086:0be2"})


def read_display(tree: Tree, pci: Pci) -> tuple[list[Entry], list[Entry], list[Entry]]:
    """GPUs, other processing accelerators, other display functions."""
    gpus: list[Entry] = []
    accelerators: list[Entry] = []
    display: list[Entry] = []
    for address in pci.addresses():
        code = tree.read("sys/bus/pci/devices", address, "class") or ""
        if code[:4] not in ("0x03", "0x12"):
            continue
        entry = pci.identity(address)
        entry["name"] = None
        entry.update(pci.home(address))
        is_display = code[:4] == "0x03"
        console = f"{entry['vendor']}:{entry['device']}" in CONSOLE_CHIPS
        if not (entry["vendor"] in GPU_VENDORS and not console if is_display else entry["vendor"] == "1002"):
            (display if is_display else accelerators).append(entry)
            continue
        where = "sys/bus/pci/devices/" + address
        entry.update({"index": None, "uuid": None, "memory_bytes": tree.number(where, "mem_info_vram_total")})
        os_names = tree.names(where, "drm")
        if os_names:
            entry["os_names"] = [n for n in os_names if n.startswith(("card", "renderD"))]
        gpus.append(entry)
    return gpus, accelerators, display
