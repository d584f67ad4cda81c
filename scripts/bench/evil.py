"""A swarm of real processes with members that do harm: python3 evil.py PROGRAM EVIL DIR [ROUNDS] [KIND ...]

A lead and eight relays on loopback, each held to a line of its own by --upload-limit, and four members of one kind in processes of
their own (`evil.rs`), which deal with everyone they hear of. Rounds with and without them take turns. It prints how long the honest
ones took over the time without harm, whether each had every byte in the end, and how many of them said who did what.
"""

import hashlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

program, evil, source = sys.argv[1:4]
rounds = int((sys.argv[4:] or ["1"])[0])
KINDS = ["noise", "noise-renamed", "silent", "trickle", "refuser", "taker", "glutton", "unread", "flood", "strangers", "churn", "unasked"]
MIXED = ["noise-renamed", "silent", "taker", "flood"]
kinds = sys.argv[5:] or [*KINDS, "mixed"]
HONEST, EVIL = 8, 4
# Bits a second of each honest node: two cores carry nine such lines, so that the lines decide and not they.
UPLOAD = os.environ.get("UPLOAD", "40M")
LOOPBACK = ["--listen", "/ip4/127.0.0.1/tcp/0"]
# Seconds that the honest ones may take before they are given up.
HAS_ALL_TIME = 300


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()


[snapshot] = [name for name in os.listdir(source) if name.endswith(".sql.gz")]
whole = digest(f"{source}/{snapshot}")


def run(kind):
    """Seconds of each honest node, how many of them have the snapshot whole, and what they said; none of `kind`: without harm."""
    work = tempfile.mkdtemp(prefix="regenesis-evil.")
    processes, names = [], []
    try:
        os.mkdir(f"{work}/lead")
        for name in ("genesis.json", snapshot, "manifest.regenesis"):
            shutil.copy(f"{source}/{name}", f"{work}/lead")
        common = ["--progress", "plain", "--upload-limit", UPLOAD, *LOOPBACK]
        lead = start([program, "seed", "--dir", f"{work}/lead", *common], work, "lead", stdout=subprocess.PIPE)
        processes.append(lead)
        ticket = lead.stdout.readline().strip()
        if kind:
            for number, one in enumerate(MIXED if kind == "mixed" else [kind] * EVIL):
                names.append(f"evil{number}")
                # They have processors of their own, where they are not on this machine.
                processes.append(start(["nice", "-n", "19", evil, one, ticket, f"{source}/manifest.regenesis"], work, names[-1]))
            # Each has been with the lead before the honest ones come.
            end = time.monotonic() + 30
            while not all(os.path.getsize(f"{work}/{name}.out") for name in names) and time.monotonic() < end:
                time.sleep(0.05)
            time.sleep(1)
        began, took = time.monotonic(), {}
        for number in range(HONEST):
            into = [f"--dir={work}/honest{number}", f"--state-dir={work}/state{number}"]
            processes.append(start([program, "relay", ticket, *into, *common], work, f"honest{number}"))
        while len(took) < HONEST and time.monotonic() < began + HAS_ALL_TIME:
            for number in range(HONEST):
                files = os.listdir(f"{work}/honest{number}") if os.path.isdir(f"{work}/honest{number}") else []
                if number not in took and snapshot in files and not any(name.endswith(".part") for name in files):
                    took[number] = time.monotonic() - began
            time.sleep(0.02)
        sound = sum(digest(f"{work}/honest{number}/{snapshot}") == whole for number in took)
        said = {}
        for name in ["lead", *(f"honest{number}" for number in range(HONEST))]:
            with open(f"{work}/{name}.err", errors="replace") as file:
                said[name] = file.read()
        ids = [[line.strip() for line in open(f"{work}/{name}.out")] for name in names]
        return took, sound, said, ids
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()
        if os.environ.get("KEEP"):
            print(work, file=sys.stderr)
        else:
            shutil.rmtree(work)


USUAL = ["connected to", ": sent ", "the connection was lost"]


def start(command, work, name, stdout=None):
    with open(f"{work}/{name}.out", "w") as out, open(f"{work}/{name}.err", "w") as err:
        return subprocess.Popen(command, stdout=stdout or out, stderr=err, stdin=subprocess.DEVNULL, text=True, env={**os.environ, "HOME": work})


def named(said, ids):
    """How many honest nodes say something of at least one name of every evil one, and the words of one of them."""
    count, words = 0, ""
    for text in said.values():
        # People are told the last letters of a peer id. That it is connected, and what it sent in the end, is said of everyone.
        lines = [line for line in text.splitlines() if not any(usual in line for usual in USUAL)]
        lines = [[line for line in lines if any(one[-8:] in line for one in of)] for of in ids]
        count += all(lines)
        words = words or next((line for found in lines for line in found), "")
    return count, words


print(f"| four of twelve | T without harm, s | T with them, s | ratio | whole | said who, of {HONEST + 1} | words |")
print("|---|---|---|---|---|---|---|", flush=True)
for kind in kinds:
    ratios, least, least_named, example, times = [], HONEST, HONEST + 1, "", []
    for _ in range(rounds):
        took, sound, _, _ = run(None)
        if sound < HONEST:
            sys.exit(f"error: only {sound} of {HONEST} were whole without anyone who did harm")
        alone = max(took.values())
        took, sound, said, ids = run(kind)
        slowest = max(took.values()) if len(took) == HONEST else float("inf")
        ratios.append(slowest / alone)
        times.append((alone, slowest))
        count, words = named(said, ids)
        least, least_named, example = min(least, sound), min(least_named, count), example or words
    without, with_them = (" ".join(f"{pair[i]:.1f}" for pair in times) for i in (0, 1))
    example = example.replace("|", "\\|")[:150]
    print(f"| {kind} | {without} | {with_them} | {statistics.median(ratios):.2f} | {least} of {HONEST} | {least_named} | {example} |", flush=True)
