#!/usr/bin/python
"""One JSON-RPC call to a Lotus daemon, miner or worker, made on the host whose files hold the token."""

from __future__ import annotations

import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.sealyard_host.lotus_api import (
    CallFailed,
    Endpoint,
    Unreachable,
    call,
    file_endpoint,
    repo_endpoint,
)

DOCUMENTATION = r"""
module: lotus_rpc
short_description: Call a Lotus JSON-RPC method without the token leaving the host
description:
  - Reads the address and the token on the target, from a running repo (files C(api) and C(token)) or from an
    environment file (C(NAME=TOKEN:ADDRESS)), posts one request and returns its result.
  - The token is never an argument, a return value or part of an error text.
  - In check mode a call with O(mutates=true) is not made.
options:
  repo:
    description: Repo of a running daemon, miner or worker. Exactly one of O(repo) and O(api_info_file) is needed.
    type: path
  api_info_file:
    description: Environment file that holds O(api_info_variable).
    type: path
  api_info_variable:
    description: Variable to read from O(api_info_file); of a comma separated list the first entry is called.
    type: str
    choices: [FULLNODE_API_INFO, MINER_API_INFO, WORKER_API_INFO]
    default: FULLNODE_API_INFO
  method:
    description: Method name, with or without the prefix C(Filecoin.). Exactly one of O(method) and O(calls) is needed.
    type: str
  calls:
    description: Several calls that only read, in one go. One that is refused does not keep the others from being made.
    type: list
    elements: dict
    suboptions:
      method: {type: str, required: true, description: As O(method).}
      params: {type: list, elements: raw, default: [], description: As O(params).}
  params:
    description: Positional parameters.
    type: list
    elements: raw
    default: []
  api:
    description: API version. Unset means v1 for a daemon and v0 for a miner or a worker, which serve nothing else.
    type: str
    choices: [v0, v1]
  timeout_sec:
    description: Longest wait for one answer, in seconds.
    type: int
    default: 10
  wait_sec:
    description: Keep trying for this many seconds while the API is not there yet.
    type: int
    default: 0
  wait_for_change_sec:
    description: Ask again for up to this many seconds until the result differs from the first one.
    type: int
    default: 0
  mutates:
    description: The call changes something. Reported as changed, skipped in check mode.
    type: bool
    default: false
  allow_unreachable:
    description: Return RV(reachable=false) instead of failing where the repo has no running API.
    type: bool
    default: false
author: [Sealyard]
"""

EXAMPLES = r"""
- name: Read the head of the chain
  lotus_rpc:
    repo: /var/lib/lotus/daemon-private
    method: ChainHead
  register: head

- name: Tell the seal miner to take a new sector
  lotus_rpc:
    repo: /var/lib/lotus/miner-seal
    method: PledgeSector
    mutates: true
"""

RETURN = r"""
reachable:
  description: The API answered.
  type: bool
  returned: always
result:
  description: The field C(result) of the answer; null where the call was skipped or the API was not reachable.
  type: raw
  returned: always
result_changed:
  description: The result changed within O(wait_for_change_sec).
  type: bool
  returned: always
answers:
  description: The calls with their C(result), or with the C(error) of one that the API refused.
  type: list
  elements: dict
  returned: when O(calls) were made
address:
  description: The URL that was called, without the token; empty where no address is known.
  type: str
  returned: always
"""

POLL_SEC = 1.0


def find_endpoint(options: dict[str, Any]) -> Endpoint:
    """Endpoint for the module's options."""
    if options["repo"]:
        return repo_endpoint(options["repo"], options["api"])
    return file_endpoint(options["api_info_file"], options["api_info_variable"], options["api"])


def ask_all(options: dict[str, Any]) -> dict[str, Any]:
    """Make each of the option `calls` and return the module's result; Unreachable at the first that is not answered."""
    endpoint = find_endpoint(options)
    answers = []
    for each in options["calls"]:
        answer: dict[str, Any] = {"method": each["method"], "params": each["params"], "result": None, "error": ""}
        try:
            answer["result"] = call(endpoint, each["method"], each["params"], options["timeout_sec"])
        except CallFailed as error:
            answer["error"] = str(error)
        answers.append(answer)
    return {"changed": False, "reachable": True, "answers": answers, "address": endpoint.url}


def run(options: dict[str, Any]) -> dict[str, Any]:
    """Do what the options ask and return the module's result; Unreachable only after wait_sec."""
    if options["calls"] is not None:
        return ask_all(options)
    deadline = time.monotonic() + options["wait_sec"]
    while True:
        try:
            endpoint = find_endpoint(options)
            result = call(endpoint, options["method"], options["params"], options["timeout_sec"])
            break
        except Unreachable:
            if time.monotonic() >= deadline:
                raise
            time.sleep(POLL_SEC)
    first = result
    deadline = time.monotonic() + options["wait_for_change_sec"]
    while result == first and time.monotonic() < deadline:
        time.sleep(POLL_SEC)
        result = call(endpoint, options["method"], options["params"], options["timeout_sec"])
    return {
        "changed": options["mutates"],
        "reachable": True,
        "result": result,
        "result_changed": result != first,
        "address": endpoint.url,
    }


def main() -> None:
    """Module entry."""
    module = AnsibleModule(
        argument_spec={
            "repo": {"type": "path"},
            "api_info_file": {"type": "path"},
            "api_info_variable": {
                "type": "str",
                "default": "FULLNODE_API_INFO",
                "choices": ["FULLNODE_API_INFO", "MINER_API_INFO", "WORKER_API_INFO"],
            },
            "method": {"type": "str"},
            "calls": {
                "type": "list",
                "elements": "dict",
                "options": {
                    "method": {"type": "str", "required": True},
                    "params": {"type": "list", "elements": "raw", "default": []},
                },
            },
            "params": {"type": "list", "elements": "raw", "default": []},
            "api": {"type": "str", "choices": ["v0", "v1"]},
            "timeout_sec": {"type": "int", "default": 10},
            "wait_sec": {"type": "int", "default": 0},
            "wait_for_change_sec": {"type": "int", "default": 0},
            "mutates": {"type": "bool", "default": False},
            "allow_unreachable": {"type": "bool", "default": False},
        },
        required_one_of=[["repo", "api_info_file"], ["method", "calls"]],
        mutually_exclusive=[["repo", "api_info_file"], ["method", "calls"]],
        supports_check_mode=True,
    )
    options = module.params
    nothing = {"reachable": False, "result": None, "result_changed": False, "address": ""}
    if options["mutates"] and module.check_mode:
        module.exit_json(changed=True, **nothing)
    try:
        module.exit_json(**run(options))
    except Unreachable as error:
        if options["allow_unreachable"]:
            module.exit_json(changed=False, reason=str(error), **nothing)
        remedy = "Start the service that owns it, or read why it stopped: journalctl -u 'lotus-*' -n 50"
        module.fail_json(msg=f"{error}. {remedy}", **nothing)
    except (CallFailed, ValueError, OSError) as error:
        module.fail_json(msg=str(error), **nothing)


if __name__ == "__main__":
    main()
