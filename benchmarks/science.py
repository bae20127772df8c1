"""What can be found of what was planted: the chain on unseen seeds, held against the truth that no run can read.

Each seed is a world of its own. Its archives are written, the chain runs over them by the command line, and only then
is the truth opened: black box, recovery by latents, units, PCA and random directions, counterfactual twins, patients
out of distribution, random labels, reports of others. docs/phantom.md tells what passing proves and what it does not.

make science                       # seeds 2001 2002 2003
make science SEEDS="7 8 9"
python -m benchmarks.science --seeds 7 --patients 800 --only random   # smaller; of the null archives one

Parts: main, the exam itself, is always there; abroad, other patients whose artefacts follow the absence of findings;
random, labels drawn at random; independent, reports of other studies. Smaller archives lie in <seed>-<patients>.
"""

import argparse
import os
import sys
import time
from pathlib import Path

from benchmarks.science_archives import PARTS, PATIENTS, phantom
from benchmarks.science_seed import COST, prepare, score, selected, write_json
from benchmarks.science_tables import report, verdicts
from neuroconcepts_ray.distributed.compat import prepare_environment
from neuroconcepts_ray.errors import ConfigError

OUT = Path(__file__).parent / "out"


def parsed() -> argparse.Namespace:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seeds", type=int, nargs="+", help="worlds (else the variable SEEDS, else 2001 2002 2003)")
    options.add_argument("--patients", type=int, default=PATIENTS, help=f"of the main archive ({PATIENTS})")
    choices = [part.name for part in PARTS]
    told = "parts beside main (else all; --only main: none)"
    options.add_argument("--only", nargs="+", choices=choices, default=[], help=told)
    told = "where archives and lakes are kept (benchmarks/out/science)"
    options.add_argument("--folder", type=Path, default=OUT / "science", help=told)
    # What is said later counts.
    asked = options.parse_args(["--seeds", *(os.environ.get("SEEDS") or "2001 2002 2003").split(), *sys.argv[1:]])
    if asked.patients < 1:
        options.error(f"argument --patients: at least 1 (got {asked.patients})")
    try:
        for seed in asked.seeds:
            phantom(PARTS[0], seed, asked.patients)
    except ConfigError as error:
        options.error(error.message)
    return asked


def main() -> None:
    asked = parsed()
    prepare_environment()
    began, spent = time.monotonic(), 0.0
    whole = (sum(COST[part.name] for part in selected(asked.only)) + COST["score"]) * len(asked.seeds)

    def done(text: str, cost: float) -> None:
        nonlocal spent
        spent += cost
        minutes = (time.monotonic() - began) / 60
        # Until something is done the machine is taken for an idle one.
        left = (minutes / spent if spent else 1 / 60) * (whole - spent)
        print(f"[{minutes:5.1f} min, about {left:.0f} left] {text}", flush=True)

    results = []
    for seed in asked.seeds:
        # Archives of another size are other archives, and lie elsewhere.
        name = str(seed) if asked.patients == PATIENTS else f"{seed}-{asked.patients}"
        work = asked.folder.resolve() / name
        prepare(seed, work, asked.patients, asked.only, done)
        results.append(score(seed, work, asked.only))
        done(f"seed {seed}: scored", COST["score"])
    print(report(results))
    OUT.mkdir(exist_ok=True)
    write_json(OUT / "science.json", {"seeds": results, "verdicts": verdicts(results)})


if __name__ == "__main__":
    main()
