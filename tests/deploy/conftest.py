"""Where the processes of the other stage that uses ministack are started from."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "ministack"))
