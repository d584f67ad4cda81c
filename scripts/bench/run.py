#!/usr/bin/env python3
"""Runs contenders in turn and prints a table: python3 run.py PLAN.json

The plan is {"title", "rounds", "reference": a contender's name, "contenders": [{"name", "command", "text_bytes",
"file"?, "before"?}]}. Each command runs in a shell, after the one that prepares for it; the time is from start to exit, the memory the
largest resident set of any one process of it. A contender's file is measured after its run.
"""
import json
import os
import statistics
import subprocess
import sys
import time


def run(command):
    started = time.monotonic()
    child = subprocess.Popen(["bash", "-o", "pipefail", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.monotonic() - started
    if status != 0:
        sys.exit(f"error: {command}\n{said.decode(errors='replace')}\n  next: run it by hand")
    # The shell's own children were waited for by it: the figure is the largest of them.
    return seconds, usage.ru_maxrss / 1024, said


def main():
    with open(sys.argv[1]) as file:
        plan = json.load(file)
    contenders = plan["contenders"]
    results = {c["name"]: [] for c in contenders}
    memory, sizes = {}, {}
    for number in range(plan["rounds"]):
        for contender in contenders:
            # Nobody pays for the removal of an earlier file.
            if os.path.exists(contender.get("file", "")):
                os.remove(contender["file"])
            if "before" in contender:
                run(contender["before"])
            seconds, mib, said = run(contender["command"])
            name = contender["name"]
            results[name].append(seconds)
            memory[name] = max(memory.get(name, 0), mib)
            if "file" in contender:
                if not os.path.exists(contender["file"]):
                    sys.exit(f"error: {name} made no file, though it said that it went well\n{said.decode(errors='replace')}")
                sizes[name] = os.path.getsize(contender["file"])
            print(f"  round {number + 1}: {name}: {seconds:.2f} s", file=sys.stderr, flush=True)
    reference = plan["reference"]
    times = {name: statistics.median(seconds) for name, seconds in results.items()}
    # A pipe would end a cell.
    shown = {name: name.replace("|", "\\|") for name in results}
    width = max(len(name) for name in shown.values())
    print(f"| {plan['title']:{width}} | seconds, each round | median | MB/s | times as fast | file, MB | file | peak, MiB |")
    print(f"|{'-' * (width + 2)}|---|---|---|---|---|---|---|")
    for contender in contenders:
        name = contender["name"]
        ratio = times[reference] / times[name]
        speed = contender["text_bytes"] / times[name] / 1e6
        digits = 1 if times[reference] >= 10 else 2
        each = " ".join(f"{s:.{digits}f}" for s in results[name])
        size = f"{sizes[name] / 1e6:.0f}" if name in sizes else ""
        share = f"{sizes[name] / sizes[reference]:.3f}x" if name in sizes and reference in sizes else ""
        print(f"| {shown[name]:{width}} | {each} | {times[name]:.{digits}f} | {speed:.0f} | {ratio:.2f}x | {size} | {share} | {memory[name]:.0f} |")
    print()


main()
