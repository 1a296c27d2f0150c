"""What permissions.rs is to the workers of tests in Rust: they may do what `enrolld policy` prints for their configuration, and the simulator refuses them
all else. As a program it makes such a principal, for `POST /_sim/principals`, of a policy that was printed:

    enrolld policy --config enrolld.toml --output json | python3 confinement.py ACCESS-KEY-ID
"""

import json
import os
import subprocess
import sys
import urllib.request

ACCOUNT = "123456789012"
REGION = "eu-central-1"


def grants(document):
    """What a policy says, as the simulator takes it: each action on each resource, with its conditions."""
    return [
        {"action": action, "resource": on, "condition": one.get("Condition", {}), "denies": one["Effect"] == "Deny"}
        for one in document["Statement"]
        for action in one["Action"]
        for on in one["Resource"]
    ]


def all_grants(printed):
    """The policies of all that is printed, as one."""
    return [grant for policy in printed["policies"] for grant in grants(policy["document"])]


def principal(printed, access_key_id):
    """An access key that may do all that is printed."""
    return {"access_key_id": access_key_id, "arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/enrolld/worker", "allowed": all_grants(printed)}


def printed_for(binary, config, dead_letters):
    """What is printed for this configuration. `dead_letters` is the queue that the redrive policy names."""
    letters = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{dead_letters}"
    command = [binary, "policy", "--config", config, "--output", "json", "--region", REGION, "--account", ACCOUNT, "--dead-letter-queue", letters]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, env={"PATH": os.environ["PATH"]}).stdout)


def confine(simulator, binary, config, access_key_id, dead_letters):
    """From now on the access key may do what is printed for this configuration."""
    body = json.dumps(principal(printed_for(binary, config, dead_letters), access_key_id)).encode()
    with urllib.request.urlopen(urllib.request.Request(f"{simulator}/_sim/principals", data=body), timeout=30):
        pass


def beyond(state):
    """The operations that somebody was refused, by the simulator's state."""
    return sorted(operation for operation, ends in state["outcomes"].items() if any(code.startswith("AccessDenied") for code in ends))


if __name__ == "__main__":
    print(json.dumps(principal(json.load(sys.stdin), sys.argv[1])))
