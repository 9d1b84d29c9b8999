#!/usr/bin/python
"""Ansible module: what the sealing planner needs to know of a machine, read from sysfs, /proc and nvidia-smi."""

from __future__ import annotations

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.sealyard_host.hardware.machine import read_hardware

DOCUMENTATION = r"""
module: sealing_hardware
short_description: Read CPUs, caches, NUMA nodes, GPUs, RDMA devices and disks of a sealing host
description:
  - Reads C(/sys), C(/proc) and C(nvidia-smi) on the target with the Python standard library alone.
  - The result has the schema of the topology files under C(tests/topologies), so that it can stand in
    C(sealing_hardware) of an inventory as it is.
  - What the kernel does not say is null. Nothing is guessed and nothing is changed.
options:
  root:
    description:
      - Root of a captured file system tree to read instead of the machine itself.
      - The tree holds C(sys) and C(proc); the output of C(nvidia-smi) may lie beside them as C(nvidia-smi.csv).
    type: path
    default: /
  nvidia_smi:
    description: The C(nvidia-smi) program. It is only called where an NVIDIA GPU is on the PCI bus and O(root) is C(/).
    type: str
    default: nvidia-smi
  nvidia_smi_timeout_sec:
    description: How long C(nvidia-smi) may take. Without persistence mode it wakes the driver, which takes seconds.
    type: int
    default: 30
author:
  - Sealyard
attributes:
  check_mode:
    description: Reads only; runs the same in check mode.
    support: full
"""

EXAMPLES = r"""
- name: Read the machine
  sealing_hardware:
  register: found

- name: Show the cores of each L3
  ansible.builtin.debug:
    msg: "{{ found.hardware.cpus | selectattr('online') | groupby('l3') }}"

- name: Read a tree that was captured elsewhere
  sealing_hardware:
    root: /srv/captured/pc1-07
"""

RETURN = r"""
hardware:
  description: The machine in the schema of tests/topologies.
  returned: always
  type: dict
  contains:
    machine:
      description: C(arch), C(cpu_model), C(product) and C(kernel), each text or null.
      type: dict
      returned: always
    cpus:
      description:
        - One entry per present CPU, by number. C(core) and C(l3) are numbered over the whole machine from 0;
          C(socket) and C(node) are the kernel's numbers.
        - C(allowed) is false where the module's own cpuset leaves the CPU out. C(kind) is there on machines with
          two kinds of cores.
      type: list
      elements: dict
      returned: always
      sample: [{cpu: 0, core: 0, socket: 0, node: 0, l3: 0, online: true, allowed: true}]
    numa:
      description: One entry per NUMA node with its memory, CPUs (none on memory-only nodes) and hugepages per size.
      type: list
      elements: dict
      returned: always
      sample:
        - {node: 0, memory_bytes: 137438953472, cpus: [0, 1], hugepages: [{size_bytes: 2097152, total: 0}]}
    numa_distances:
      description: The kernel's distances, 10 is local; null where it states none.
      type: dict
      returned: always
    gpus:
      description:
        - GPUs by PCI address. C(index), C(uuid) and C(memory_bytes) need the vendor's driver and are null without it.
      type: list
      elements: dict
      returned: always
      sample:
        - {pci: "0000:3b:00.0", vendor: "10de", device: "2206", class: "0300", name: NVIDIA GeForce RTX 3080,
           numa_node: 0, index: 0, uuid: GPU-7b3c, memory_bytes: 10737418240}
    rdma:
      description:
        - RDMA devices with the state of each port (4 is active), the rate of the fastest active one and the network
          device.
      type: list
      elements: dict
      returned: always
      sample:
        - {name: mlx5_0, pci: "0000:43:00.0", numa_node: 1, netdev: ens1, port_state: {"1": 4},
           rate_bits_per_sec: 100000000000}
    nvme:
      description:
        - NVMe namespaces with their size; C(system) is true where the running system lies on it, null where that is
          not known.
      type: list
      elements: dict
      returned: always
    net:
      description: Network devices on the PCI bus.
      type: list
      elements: dict
      returned: always
    disks:
      description:
        - Every disk with size, C(rotational), NUMA node, partitions, holders (md, dm), mount points, file system and
          C(system).
      type: list
      elements: dict
      returned: always
    accelerators:
      description: Processing devices that are no GPUs.
      type: list
      elements: dict
      returned: always
    display:
      description: Display functions that are no GPUs.
      type: list
      elements: dict
      returned: always
    cgroup_version:
      description: 1 or 2; null where no cgroup hierarchy is mounted.
      type: int
      returned: always
    notes:
      description: What could not be read, in words.
      type: list
      elements: str
      returned: always
ansible_facts:
  description: The same as the fact C(sealing_hardware).
  returned: always
  type: dict
"""


def main() -> None:
    """Module entry."""
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "default": "/"},
            "nvidia_smi": {"type": "str", "default": "nvidia-smi"},
            "nvidia_smi_timeout_sec": {"type": "int", "default": 30},
        },
        supports_check_mode=True,
    )
    root = module.params["root"]
    if not Path(root, "sys/devices/system/cpu").is_dir():
        module.fail_json(msg=f"no sys/devices/system/cpu under {root}: point root at a tree that holds sys and proc")
    hardware = read_hardware(root, module.params["nvidia_smi"], module.params["nvidia_smi_timeout_sec"])
    module.exit_json(changed=False, hardware=hardware, ansible_facts={"sealing_hardware": hardware})


if __name__ == "__main__":
    main()
