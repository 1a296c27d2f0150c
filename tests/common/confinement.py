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


def principal(printed, access_key_id):
    """The policies of all that is printed, as those of one access key."""
    statements = [statement for policy in printed["policies"] for statement in policy["document"]["Statement"]]
    allowed = [{"action": action, "resource": on} for one in statements for action in one["Action"] for on in one["Resource"]]
    return {"access_key_id": access_key_id, "arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/enrolld/worker", "allowed": allowed}


def confine(simulator, binary, config, access_key_id, dead_letters):
    """From now on the access key may do what is printed for this configuration. `dead_letters` is the queue that the redrive policy names."""
    letters = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{dead_letters}"
    command = [binary, "policy", "--config", config, "--output", "json", "--region", REGION, "--account", ACCOUNT, "--dead-letter-queue", letters]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, env={"PATH": os.environ["PATH"]}).stdout
    body = json.dumps(principal(json.loads(printed), access_key_id)).encode()
    with urllib.request.urlopen(urllib.request.Request(f"{simulator}/_sim/principals", data=body), timeout=30):
        pass


def beyond(state):
    """The operations that somebody was refused, by the simulator's state."""
    return sorted(operation for operation, ends in state["outcomes"].items() if any(code.startswith("AccessDenied") for code in ends))


if __name__ == "__main__":
    print(json.dumps(principal(json.load(sys.stdin), sys.argv[1])))
