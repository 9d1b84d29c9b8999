"""The sealing planner: hosts with hardware, settings and the current placement in, the plan out.

A pure function without Ansible: the same input gives the same bytes. `python3 -m sealplan < input.json > plan.json` is
the same function on the command line; the input document is described in model.py, the plan in plan.schema.json.
"""

from sealplan.explain import explain
from sealplan.planner import plan
from sealplan.sdr import sdr_core_units

__all__ = ["explain", "plan", "sdr_core_units"]
