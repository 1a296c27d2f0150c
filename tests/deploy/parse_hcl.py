"""Prints what python-hcl2 reads from Terraform files, as one JSON object by file. Run by an interpreter that has it: another module of the same name,
which checkov brings, is where the tests run."""

import json
import sys
from pathlib import Path

import hcl2


def plain(value):
    """Without the reader's own marks, and texts without their quotes."""
    if isinstance(value, list):
        return [plain(one) for one in value]
    if isinstance(value, dict):
        return {plain(name): plain(one) for name, one in value.items() if not name.startswith("__")}
    if isinstance(value, str) and len(value) > 1 and value[0] == value[-1] == '"':
        return value[1:-1].replace('\\"', '"')
    return value


print(json.dumps({path: plain(hcl2.loads(Path(path).read_text())) for path in sys.argv[1:]}))
