"""`python3 -m sealyard [--explain] < input.json > plan.json`; exit status 1 where the plan has errors.

`python3 -m sealyard --schema` prints the JSON Schema of the input.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from sealyard.plan.explain import explain
from sealyard.planner.planner import plan
from sealyard.planner.reader import input_schema


def main() -> int:
    """Read the input document from stdin and write the plan, or its table, to stdout."""
    parser = argparse.ArgumentParser(prog="sealyard", description="Plan a sealing cluster")
    parser.add_argument("--explain", action="store_true", help="print the table for people instead of JSON")
    parser.add_argument("--schema", action="store_true", help="print the JSON Schema of the input and end")
    args = parser.parse_args()
    if args.schema:
        json.dump(input_schema(), sys.stdout, indent=1)
        sys.stdout.write("\n")
        return 0
    try:
        document = json.load(sys.stdin, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        print(f"sealyard: the input is not JSON: {error}", file=sys.stderr)
        return 2
    result = plan(document)
    for one in result["errors"]:
        print(f"sealyard: {one['path']}: {one['problem']}; write instead: {one['remedy']}", file=sys.stderr)
    if args.explain:
        sys.stdout.write(explain(result))
    else:
        json.dump(result, sys.stdout, indent=1, sort_keys=True)
        sys.stdout.write("\n")
    return 1 if result["errors"] else 0


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """JSON keeps the last of two equal keys: of two hosts with one name the first would be lost."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [key for key, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} is there twice")
    return found


if __name__ == "__main__":
    sys.exit(main())
