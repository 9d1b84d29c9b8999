"""The sealing planner: hosts with hardware, settings and the current placement in, the plan out.

A pure function without Ansible: the same input gives the same bytes. `python3 -m sealyard < input.json > plan.json` is
the same function on the command line; input.schema.json describes the input document, plan.schema.json the plan.
"""

from sealyard.hardware.core_units import sdr_core_units
from sealyard.plan.explain import explain
from sealyard.planner.planner import plan

__all__ = ["explain", "plan", "sdr_core_units"]
