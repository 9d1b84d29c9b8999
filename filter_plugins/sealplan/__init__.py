"""The sealing planner: hosts with hardware, settings and the current placement in, the plan out.

A pure function without Ansible: the same input gives the same bytes. `python3 -m sealplan < input.json > plan.json` is
the same function on the command line; input.schema.json describes the input document, plan.schema.json the plan.
"""

from sealplan.explain import explain
from sealplan.planner import plan
from sealplan.sdr import sdr_core_units

__all__ = ["explain", "plan", "sdr_core_units"]
