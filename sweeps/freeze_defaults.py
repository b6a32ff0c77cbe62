"""Adds the defaults of new fields and options to the frozen ones: `python -m sweeps.freeze_defaults`.

Entries that are there stay as they are, whatever the code says now: records were named by them.
"""

import json
from pathlib import Path

from sweeps.identity import FROZEN, current_defaults, frozen_defaults

if __name__ == "__main__":
    frozen = current_defaults() | (frozen_defaults() if Path(__file__).with_name(FROZEN).exists() else {})
    lines = [f"  {json.dumps(path)}: {json.dumps(value)}" for path, value in sorted(frozen.items())]
    Path(__file__).with_name(FROZEN).write_text("{\n" + ",\n".join(lines) + "\n}\n")
