"""Moves one signed release from node to node over loopback, in turn with other tools, and prints a table.

    python3 transfer.py --program regenesis --dir DIR [--rounds 3] [--work DIR] [--peers]

DIR is complete and signed, as `publish` leaves it. Every tool runs as two processes on this machine and writes new files; the time is from
the start of the one that fetches until the files have their final names, checked as far as the tool checks, and the processor time and
memory are those of each side until then. Without --peers, only curl from nginx is beside regenesis; with it, whichever of libtorrent
(python3's module; rqbit takes its .torrent file), rqbit and sendme are installed.
"""

import argparse
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

TICK = os.sysconf("SC_CLK_TCK")
WAIT_S = 600


def free_port():
    import socket

    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def family(pid):
    """A process and all its children, as far as they live."""
    found = [pid]
    for one in found:
        try:
            for task in os.listdir(f"/proc/{one}/task"):
                with open(f"/proc/{one}/task/{task}/children") as f:
                    found += [int(child) for child in f.read().split()]
        except OSError:
            pass
    return found


def cost(pid):
    """Processor seconds so far and the largest resident set, of a process and its children."""
    seconds, mib = 0.0, 0.0
    for one in family(pid):
        try:
            with open(f"/proc/{one}/stat") as f:
                fields = f.read().rpartition(")")[2].split()
            seconds += sum(int(n) for n in fields[11:15]) / TICK
            with open(f"/proc/{one}/status") as f:
                peak = [line for line in f if line.startswith("VmHWM")]
            mib = max(mib, int(peak[0].split()[1]) / 1024 if peak else 0)
        except (OSError, IndexError):
            pass
    return seconds, mib


class Running:
    """A process of ours that is ended by its pid."""

    all = []

    def __init__(self, command, log, env=None):
        self.log = log
        self.started = time.monotonic()
        with open(log, "wb") as out:
            self.child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, env={**os.environ, **(env or {})}
            )
        self.pid = self.child.pid
        Running.all.append(self)

    def said(self):
        with open(self.log, errors="replace") as f:
            return f.read()

    def wait_for(self, is_true, what):
        """Seconds from the start until it is true; the last cost that was seen before."""
        seen = (0.0, 0.0)
        while True:
            if is_true():
                return time.monotonic() - self.started
            over = self.child.poll()
            if over is not None and not is_true():
                sys.exit(f"error: {' '.join(self.child.args)} ended with {over} before {what}\n{self.said()}")
            if time.monotonic() - self.started > WAIT_S:
                sys.exit(f"error: {what} did not come in {WAIT_S} s\n{self.said()}")
            time.sleep(0.01)

    def end(self):
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGINT)
        try:
            self.child.wait(20)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()


class Bench:
    def __init__(self, args, work):
        self.args, self.work = args, work
        self.names = [n for n in os.listdir(args.dir) if n.endswith(".sql.gz")]
        if len(self.names) != 1:
            sys.exit(f"error: {args.dir} holds not one snapshot but {len(self.names)}")
        self.file = os.path.join(args.dir, self.names[0])
        self.size = os.path.getsize(self.file)

    def fresh(self, name):
        path = os.path.join(self.work, name)
        shutil.rmtree(path, ignore_errors=True)
        os.makedirs(path)
        return path

    def path(self, name):
        return os.path.join(self.work, name)

    # Each contender gives (seconds, processor seconds of the giver and of all who fetch, MiB of both, copies).

    def regenesis(self, command, fetchers=1):
        port = free_port()
        # The directory of the one who serves is kept from round to round, as it is on the night.
        env = {"XDG_STATE_HOME": self.path("state"), "HOME": self.path("home")}
        listen = f"/ip4/127.0.0.1/tcp/{port}"
        seed = Running(
            [self.args.program, "seed", "--dir", self.args.dir, "--listen", listen, "--external-address", listen],
            self.path("seed.log"),
            env,
        )
        ticket = []

        def has_ticket():
            ticket[:] = [line for line in seed.said().splitlines() if line.startswith("regenesis1")]
            return bool(ticket)

        seed.wait_for(has_ticket, "the ticket")
        self.idle(seed)
        before = cost(seed.pid)[0]
        nodes = []
        for n in range(fetchers):
            here = self.fresh(f"node{n}")
            more = ["--linger", "10m"] if command == "fetch" else []
            flags = [self.args.program, command, "--dir", here, "--listen", "/ip4/127.0.0.1/tcp/0", "--state-dir", self.fresh(f"state{n}")]
            nodes.append((here, Running([*flags, *more, ticket[0]], self.path(f"node{n}.log"), env)))
        seconds = 0
        for here, node in nodes:
            seconds = max(seconds, node.wait_for(lambda: self.names[0] in os.listdir(here) and self.is_over(command, node), "the snapshot"))
        seed_cost, costs = cost(seed.pid), [cost(node.pid) for _, node in nodes]
        for _, node in nodes:
            node.end()
        seed.end()
        for here, _ in nodes:
            shutil.rmtree(here)
        return seconds, seed_cost[0] - before, sum(c[0] for c in costs), seed_cost[1], max(c[1] for c in costs), fetchers

    @staticmethod
    def idle(seed):
        """`seed` looks at its files once, beside serving them; `publish` has made them itself."""
        last, since = -1.0, time.monotonic()
        while time.monotonic() - since < 0.5:
            now = cost(seed.pid)[0]
            if now != last:
                last, since = now, time.monotonic()
            time.sleep(0.05)

    @staticmethod
    def is_over(command, node):
        """`fetch` says what the check of the text came to once the file has its name."""
        return command != "fetch" or "fetched and verified" in node.said()

    def curl(self):
        port, root = free_port(), self.fresh("nginx")
        with open(self.path("nginx/conf"), "w") as f:
            f.write(
                f"daemon off; user root; pid {root}/pid; error_log stderr; worker_processes 2; events {{}}\n"
                f"http {{ access_log off; sendfile on; server {{ listen 127.0.0.1:{port}; root {os.path.realpath(self.args.dir)}; }} }}\n"
            )
        serve = Running(["nginx", "-c", f"{root}/conf", "-p", root], self.path("nginx.log"))
        serve.wait_for(lambda: os.path.exists(f"{root}/pid") and os.path.getsize(f"{root}/pid") > 0, "nginx")
        here = self.fresh("curl")
        get = Running(["curl", "-sS", "--fail", "-o", f"{here}/file", f"http://127.0.0.1:{port}/{self.names[0]}"], self.path("curl.log"))
        return self.ended(get, f"{here}/file", serve, 0)

    def ended(self, get, path, seed, before):
        """Waits for one who fetches and then ends by itself; what both sides took."""
        _, status, usage = os.wait4(get.pid, 0)
        seconds = time.monotonic() - get.started
        get.child.returncode = status
        if status != 0 or os.path.getsize(path) != self.size:
            sys.exit(f"error: {' '.join(get.child.args)} failed\n{get.said()}")
        served = cost(seed.pid)
        seed.end()
        shutil.rmtree(os.path.dirname(path))
        return seconds, served[0] - before, usage.ru_utime + usage.ru_stime, served[1], usage.ru_maxrss / 1024, 1

    def torrent(self, meta, port):
        """A libtorrent node that serves the file; it makes the .torrent file."""
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "torrent.py")
        seed = Running([sys.executable, script, "seed", self.file, meta, str(port)], self.path("torrent-seed.log"))
        seed.wait_for(lambda: "ready" in seed.said(), "the torrent")
        return script, seed

    def libtorrent(self):
        here, port, meta = self.fresh("torrent"), free_port(), self.path("release.torrent")
        script, seed = self.torrent(meta, port)
        before = cost(seed.pid)[0]
        get = Running([sys.executable, script, "get", here, meta, str(port)], self.path("torrent-get.log"))
        seconds = get.wait_for(lambda: "flushed" in get.said(), "the file")
        costs = cost(seed.pid), cost(get.pid)
        get.end(), seed.end()
        if os.path.getsize(f"{here}/{self.names[0]}") != self.size:
            sys.exit("error: libtorrent made another file")
        shutil.rmtree(here)
        return seconds, costs[0][0] - before, costs[1][0], costs[0][1], costs[1][1], 1

    def sendme(self):
        port = free_port()
        seed_dir, here = self.fresh("sendme-seed"), self.fresh("sendme-get")
        plain = {"RUST_LOG": "error"}
        common = ["--no-progress", "--relay", "disabled"]
        send = ["sendme", "send", *common, "--ticket-type", "addresses", "--magic-ipv4-addr", f"127.0.0.1:{port}", self.file]
        seed = Running(["sh", "-c", 'cd "$0" && exec "$@"', seed_dir, *send], self.path("sendme-seed.log"), plain)
        ticket = []

        def has_ticket():
            ticket[:] = [w for w in seed.said().split() if w.startswith("blob")]
            return bool(ticket)

        seed.wait_for(has_ticket, "sendme's ticket")
        before = cost(seed.pid)[0]
        get = Running(
            ["sh", "-c", 'cd "$0" && exec "$@"', here, "sendme", "receive", *common, ticket[-1]], self.path("sendme-get.log"), plain
        )
        return self.ended(get, f"{here}/{self.names[0]}", seed, before)

    def rqbit(self):
        port, here, serves = free_port(), self.fresh("rqbit"), self.fresh("rqbit-seed")
        meta = self.path("release.torrent")
        if not os.path.exists(meta):
            self.torrent(meta, free_port())[1].end()
        # It opens what it serves for writing: not the files of whoever measures.
        shutil.copyfile(self.file, f"{serves}/{self.names[0]}")
        plain = {"RUST_LOG": "error", "HOME": self.path("home")}
        common = ["rqbit", "--disable-dht", "--disable-lsd", "--disable-upnp-port-forward", "--disable-trackers"]
        only = ["download", "--disable-http-api", meta, "--overwrite", "-o"]
        seed = Running([*common, "--listen-port", str(port), *only, serves], self.path("rqbit-seed.log"), plain)
        seed.wait_for(lambda: cost(seed.pid)[0] > 0.2, "rqbit")
        # It reads and hashes the file before it serves it.
        self.idle(seed)
        before = cost(seed.pid)[0]
        from_seed = ["-e", "--initial-peers", f"127.0.0.1:{port}"]
        get = Running([*common, "--disable-tcp-listen", *only, here, *from_seed], self.path("rqbit-get.log"), plain)
        return self.ended(get, f"{here}/{self.names[0]}", seed, before)

    def contenders(self):
        program = self.args.program
        rows = [
            ("curl from nginx: plain, unchecked", self.curl),
            ("relay: encrypted, chunks checked", lambda: self.regenesis("relay")),
            ("fetch: encrypted, all checks", lambda: self.regenesis("fetch")),
            ("three relays at once", lambda: self.regenesis("relay", 3)),
        ]
        if self.args.before:

            def earlier(command, fetchers=1):
                self.args.program = self.args.before
                try:
                    return self.regenesis(command, fetchers)
                finally:
                    self.args.program = program

            rows += [
                ("relay, before", lambda: earlier("relay")),
                ("fetch, before", lambda: earlier("fetch")),
                ("three relays at once, before", lambda: earlier("relay", 3)),
            ]
        if self.args.peers:
            probe = subprocess.run([sys.executable, "-c", "import libtorrent"], capture_output=True)
            if probe.returncode == 0:
                rows.append(("libtorrent: plain TCP, SHA-1", self.libtorrent))
                if shutil.which("rqbit"):
                    rows.append(("rqbit: plain TCP, SHA-1", self.rqbit))
            if shutil.which("sendme"):
                rows.append(("sendme: QUIC, BLAKE3", self.sendme))
        return rows


def main():
    parse = argparse.ArgumentParser()
    parse.add_argument("--program", required=True)
    parse.add_argument("--before", help="an earlier program, measured in the same rounds")
    parse.add_argument("--dir", required=True)
    parse.add_argument("--rounds", type=int, default=3)
    parse.add_argument("--work", help="where the files go")
    parse.add_argument("--only", help="contenders whose names begin so")
    parse.add_argument("--peers", action="store_true")
    args = parse.parse_args()
    work = tempfile.mkdtemp(prefix="regenesis-transfer.", dir=args.work)
    try:
        os.makedirs(os.path.join(work, "home"))
        bench = Bench(args, work)
        rows = [row for row in bench.contenders() if not args.only or row[0].startswith(tuple(args.only.split(",")))]
        results = {name: [] for name, _ in rows}
        for number in range(args.rounds):
            for name, run in rows:
                results[name].append(run())
                print(f"  round {number + 1}: {name}: {results[name][-1][0]:.2f} s", file=sys.stderr, flush=True)
        reference = statistics.median(r[0] for r in next(iter(results.values())))
        gib = bench.size / 2**30
        print(f"{bench.size / 1e6:.0f} MB, {os.cpu_count()} processors")
        print(f"| | seconds, each round | MB/s | times {rows[0][0].split(':')[0]} | CPU-s/GiB: giver, fetcher | resident, MiB: giver, fetcher |")
        print("|---|---|---|---|---|---|")
        for name, got in results.items():
            seconds = statistics.median(r[0] for r in got)
            copies = got[0][5]
            giver, fetcher = (statistics.median(r[i] for r in got) / gib / copies for i in (1, 2))
            memory = [max(r[i] for r in got) for i in (3, 4)]
            each = " ".join(f"{r[0]:.2f}" for r in got)
            print(
                f"| {name} | {each} | {bench.size * copies / seconds / 1e6:.0f} | {reference * copies / seconds:.2f}x "
                f"| {giver:.2f} {fetcher:.2f} | {memory[0]:.0f} {memory[1]:.0f} |"
            )
    finally:
        for running in Running.all:
            running.end()
        shutil.rmtree(work, ignore_errors=True)


main()
