"""A driver process for commands on the cluster: an argument list a line comes in, what it printed as JSON goes out.

Its connection, the modules it loaded and Ray's workers of its job are there for the next command. What a command leaves
for another can only be in the lake, as between two processes: a lake's state is kept nowhere else.
"""

import gc
import json
import os
import sys
import tempfile
from typing import Any

from neuroconcepts_ray.distributed.compat import prepare_environment

prepare_environment()  # before torch is loaded

from neuroconcepts_ray.cli.main import call  # noqa: E402 - after the variables


def run(args: list[str]) -> dict[str, Any]:
    """Exit code and outputs; whatever writes to the process's own outputs is among them."""
    kept = os.dup(1), os.dup(2)
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        os.dup2(out.fileno(), 1)
        os.dup2(err.fileno(), 2)
        try:
            code = call(args)
        finally:
            gc.collect()  # Ray's actors end with the last handle on them, and some handles stand in circles
            sys.stdout.flush()
            sys.stderr.flush()
            for at, file in zip((1, 2), kept, strict=True):
                os.dup2(file, at)
                os.close(file)
        texts = []
        for printed in (out, err):
            printed.seek(0)
            texts.append(printed.read().decode())
    return {"code": code, "out": texts[0], "err": texts[1]}


if __name__ == "__main__":
    os.environ["COLUMNS"] = "200"
    for line in sys.stdin:
        print(json.dumps({"result": run(json.loads(line)["spec"]["args"])}), flush=True)
