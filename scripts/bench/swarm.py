"""Runs `regenesis drill` over even and uneven lines and prints a table: python3 swarm.py PROGRAM [SIZE]"""

import json
import subprocess
import sys
import tempfile
import time

program, size = sys.argv[1], (sys.argv[2:] or ["500M"])[0]
KINDS = {
    "all 200M": ([200], 200),
    "50M, 200M, 800M in turn": ([50, 200, 800], 200),
    "the same, lead 800M": ([50, 200, 800], 800),
}

print("| uplinks | nodes | T/T* | lead sent until all was out | in all | needed | seconds to simulate |")
print("|---|---|---|---|---|---|---|")
for kind, (ups, lead) in KINDS.items():
    for nodes in (4, 16, 50, 200):
        with tempfile.NamedTemporaryFile("w", suffix=".links") as links:
            links.write(f"lead {lead}M 100G seed\n")
            links.writelines(f"v{n} {ups[n % len(ups)]}M 100G\n" for n in range(nodes))
            links.flush()
            began = time.time()
            command = [program, "drill", "--links", links.name, "--size", size, "--output", "json"]
            said = json.loads(subprocess.check_output(command))["result"]
        print(
            f"| {kind} | {nodes} | {said['ratio']:.3f} | {said['seed_copies']:.3f} | {said['seed_copies_in_all']:.3f} "
            f"| {said['seed_copies_needed']:.3f} | {time.time() - began:.1f} |",
            flush=True,
        )
