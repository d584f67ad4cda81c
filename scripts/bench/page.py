"""Measures the status page of real processes on this machine: python3 page.py PROGRAM DIR [ROUNDS]

When a browser without a screen has painted it first, and what twenty open pages cost a transfer: fetches with and without them take
turns. DIR is a directory that is complete and signed; it is copied, and not written to.
"""

import json
import os
import re
import selectors
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

program, source, rounds = sys.argv[1], sys.argv[2], int((sys.argv[3:] or ["7"])[0])
VIEWERS = 20
LOOPBACK = ["--listen", "/ip4/127.0.0.1/tcp/0"]


def seed(work):
    """A seed of the files, its ticket, and where its page is."""
    command = [program, "seed", "--dir", f"{work}/files", "--status-addr", "127.0.0.1:0", "--progress", "plain", *LOOPBACK]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    found = queue_of(process.stderr, re.compile(r"its status page: http://([0-9.]+):([0-9]+)/"))
    ticket = process.stdout.readline().strip()
    return process, ticket, found


def queue_of(stream, wanted):
    """Reads a stream to its end on a thread, and gives the first that is wanted in it."""
    found, result = threading.Event(), []

    def read():
        for line in stream:
            match = wanted.search(line)
            if match and not result:
                result.append((match[1], int(match[2])))
                found.set()

    threading.Thread(target=read, daemon=True).start()
    if not found.wait(60):
        sys.exit("the seed does not say where its page is")
    return result[0]


def fetch(work, ticket):
    """Seconds of a whole fetch, verified."""
    into = f"{work}/into"
    shutil.rmtree(into, ignore_errors=True)
    command = [program, "fetch", ticket, "--dir", into, "--linger", "none", "--quiet", "--progress", "none", "--state-dir", f"{work}/state"]
    began = time.monotonic()
    subprocess.run([*command, *LOOPBACK], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.monotonic() - began


def processor(process):
    """Processor seconds of a process so far."""
    with open(f"/proc/{process.pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Viewers:
    """Pages that are open and read what they are told."""

    def __init__(self, place):
        self.bytes, self.began, self.open = 0, time.monotonic(), True
        self.selector = selectors.DefaultSelector()
        for _ in range(VIEWERS):
            page = socket.create_connection(place)
            page.sendall(f"GET /api/v1/events HTTP/1.1\r\nHost: {place[0]}:{place[1]}\r\n\r\n".encode())
            self.selector.register(page, selectors.EVENT_READ)
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        while self.open:
            for key, _ in self.selector.select(0.2):
                self.bytes += len(key.fileobj.recv(1 << 16))

    def close(self):
        self.open = False
        self.thread.join()
        for key in list(self.selector.get_map().values()):
            key.fileobj.close()
        return self.bytes / VIEWERS / (time.monotonic() - self.began)


class Browser:
    """Chromium, driven over its debugging pipe."""

    def __init__(self, work):
        name = shutil.which("chromium") or shutil.which("google-chrome")
        if not name:
            sys.exit("no chromium is installed")
        (asked, self.asks), (self.hears, told) = os.pipe(), os.pipe()
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
        # The browser reads from its third and writes to its fourth descriptor.
        script = f'exec "$0" "$@" 3<&{asked} 4>&{told}'
        command = ["bash", "-c", script, name, *flags, f"--user-data-dir={work}/profile", "--remote-debugging-pipe", "about:blank"]
        self.process = subprocess.Popen(command, pass_fds=(asked, told), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(asked)
        os.close(told)
        self.heard, self.last, self.session = b"", 0, None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.call("Page.enable")

    def next(self):
        while b"\0" not in self.heard:
            self.heard += os.read(self.hears, 1 << 16)
        message, self.heard = self.heard.split(b"\0", 1)
        return json.loads(message)

    def call(self, method, **params):
        self.last += 1
        message = {"id": self.last, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.asks, json.dumps(message).encode() + b"\0")
        while (told := self.next()).get("id") != self.last:
            pass
        return told["result"]

    def first_paint(self, url):
        """Milliseconds from the beginning of the navigation to the first paint of anything."""
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=url)
        painted = """new Promise(done => new PerformanceObserver(list => done(list.getEntriesByName('first-contentful-paint')[0].startTime))
            .observe({type: 'paint', buffered: true}))"""
        return self.call("Runtime.evaluate", expression=painted, awaitPromise=True, returnByValue=True)["result"]["value"]

    def close(self):
        self.process.kill()
        self.process.wait()


def words(numbers, digits):
    return " ".join(f"{number:.{digits}f}" for number in numbers)


with tempfile.TemporaryDirectory(prefix="regenesis-page.") as work:
    shutil.copytree(source, f"{work}/files", ignore=shutil.ignore_patterns("status.sock", "lock"))
    process, ticket, place = seed(work)
    try:
        browser = Browser(work)
        paints = [browser.first_paint(f"http://{place[0]}:{place[1]}/") for _ in range(rounds + 1)]
        browser.close()
        print(f"first paint, ms: {words(paints[:1], 0)} in a browser that was just started, then {words(paints[1:], 0)}")
        alone, watched, rates, costs = [], [], [], ([], [])
        fetch(work, ticket)
        for _ in range(rounds):
            before = processor(process)
            alone.append(fetch(work, ticket))
            between = processor(process)
            viewers = Viewers(place)
            watched.append(fetch(work, ticket))
            rates.append(viewers.close())
            costs[0].append(between - before)
            costs[1].append(processor(process) - between)
        ratio = statistics.median(alone) / statistics.median(watched)
        print(f"a fetch, seconds: {words(alone, 2)}; with {VIEWERS} pages open: {words(watched, 2)}")
        print(f"processor seconds of the seed, medians: {statistics.median(costs[0]):.2f} and {statistics.median(costs[1]):.2f}")
        print(f"as fast as without them, by the medians: {ratio:.3f}; bytes a second for each page, the first status with them: {words(rates, 0)}")
    finally:
        process.terminate()
        process.wait()
