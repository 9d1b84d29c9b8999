"""`python3 -m sealplan [--explain] < input.json > plan.json`; exit status 1 where the plan has errors."""

from __future__ import annotations

import argparse
import json
import sys

from sealplan.explain import explain
from sealplan.planner import plan


def main() -> int:
    """Read the input document from stdin and write the plan, or its table, to stdout."""
    parser = argparse.ArgumentParser(prog="sealplan", description="Plan a sealing cluster")
    parser.add_argument("--explain", action="store_true", help="print the table for people instead of JSON")
    args = parser.parse_args()
    try:
        document = json.load(sys.stdin)
    except ValueError as error:
        print(f"sealplan: the input is not JSON: {error}", file=sys.stderr)
        return 2
    result = plan(document)
    if args.explain:
        sys.stdout.write(explain(result))
    else:
        json.dump(result, sys.stdout, indent=1, sort_keys=True)
        sys.stdout.write("\n")
    return 1 if result["errors"] else 0


if __name__ == "__main__":
    sys.exit(main())
