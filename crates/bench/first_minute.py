#!/usr/bin/env python3
"""Times what a newcomer does with each program, as it is typed, between two network namespaces: a file, a folder, and a receiver that
is killed and started again. Each end runs in a pseudo-terminal of 100 columns, and what stands on its screen in the end is counted.

    python3 crates/bench/first_minute.py --programs target/release --rounds 2

It needs root, ip and tc (iproute2), and those of sendme, rqbit, wormhole (with twist, for its mailbox server), aria2c and nginx that
are to be compared; what is missing is left out. Run it on a machine that does nothing else. docs/use/comparison.md has the figures.
"""

import argparse
import fcntl
import hashlib
import os
import pty
import random
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path

HERE, THERE = "10.77.0.1", "10.77.0.2"
COLUMNS, ROWS = 100, 40
DEADLINE = 180.0
SLOW = "240mbit"


class Screen:
    """What a terminal shows: enough of ECMA-48 for progress bars."""

    def __init__(self):
        self.lines, self.row, self.column = [""], 0, 0

    def feed(self, text):
        for part in re.finditer(r"\x1b\[([0-9;?]*)([A-Za-z])|\x1b\][^\x07]*\x07|\x1b.|[\s\S]", text):
            key = part.group(0)
            if part.group(2):
                self.control(part.group(1), part.group(2))
            elif key == "\n":
                self.row += 1
                while len(self.lines) <= self.row:
                    self.lines.append("")
            elif key == "\r":
                self.column = 0
            elif key == "\b":
                self.column = max(0, self.column - 1)
            elif key >= " ":
                if self.column >= COLUMNS:
                    self.feed("\r\n")
                line = self.lines[self.row].ljust(self.column)
                self.lines[self.row] = line[: self.column] + key + line[self.column + 1 :]
                self.column += 1

    def control(self, number, what):
        count = int(number) if number.isdigit() else 1
        if what == "A":
            self.row = max(0, self.row - count)
        elif what == "B":
            self.row = min(len(self.lines) - 1, self.row + count)
        elif what == "G":
            self.column = count - 1
        elif what == "K":
            self.lines[self.row] = "" if number == "2" else self.lines[self.row][: self.column]
        elif what == "J":
            self.lines[self.row] = self.lines[self.row][: self.column]
            del self.lines[self.row + 1 :]

    def read(self):
        """Lines that have something in them."""
        return [line.rstrip() for line in self.lines if line.strip()]


class End:
    """A program in a pseudo-terminal of one namespace."""

    def __init__(self, namespace, folder, command, environment=()):
        self.screen, self.began, self.code = Screen(), time.monotonic(), None
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            os.environ.update(dict(environment), TERM="xterm-256color", COLUMNS=str(COLUMNS), HOME=str(folder))
            os.execvp("ip", ["ip", "netns", "exec", namespace, "sh", "-c", "exec " + command])
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))

    def look(self, seconds):
        """Takes in what it prints within this time; whether it goes on."""
        if self.code is not None:
            return False
        if not select.select([self.terminal], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self.terminal, 65536)
        except OSError:
            data = b""
        if data:
            self.screen.feed(data.decode("utf-8", "replace"))
            return True
        self.code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        self.took = time.monotonic() - self.began
        os.close(self.terminal)
        return False

    def until(self, says, seconds=DEADLINE):
        """What the first group of this expression matches on its screen, once it does."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            found = re.search(says, "\n".join(self.screen.read()), re.MULTILINE)
            if found:
                self.took = time.monotonic() - self.began
                return found.group(1) if found.groups() else found.group(0)
            if not self.look(0.02):
                found = re.search(says, "\n".join(self.screen.read()), re.MULTILINE)
                if found:
                    return found.group(1) if found.groups() else found.group(0)
                break
        raise RuntimeError("it never said " + says + ":\n" + "\n".join(self.screen.read()))

    def ends(self, meanwhile=(), seconds=DEADLINE):
        """Its exit status, once it ends; the others' terminals are read meanwhile."""
        ends = time.monotonic() + seconds
        while self.look(0.02):
            for other in meanwhile:
                other.look(0)
            if time.monotonic() > ends:
                raise RuntimeError("it does not end:\n" + "\n".join(self.screen.read()))
        return self.code

    def type(self, text):
        os.write(self.terminal, text.encode())

    def stop(self, with_signal=signal.SIGINT, seconds=5):
        if self.code is None:
            os.kill(self.pid, with_signal)
            ends = time.monotonic() + seconds
            while self.look(0.05) and time.monotonic() < ends:
                pass
        if self.code is None:
            self.stop(signal.SIGKILL)


def run(*words):
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)


class Network:
    """Two machines and a cable."""

    names = ("minute-a", "minute-b")

    def __enter__(self):
        self.remove()
        for name in self.names:
            run("ip", "netns", "add", name)
            run("ip", "-n", name, "link", "set", "lo", "up")
        run("ip", "link", "add", "ca", "netns", self.names[0], "type", "veth", "peer", "name", "cb", "netns", self.names[1])
        for name, cable, address in zip(self.names, ("ca", "cb"), (HERE, THERE)):
            run("ip", "-n", name, "address", "add", address + "/24", "dev", cable)
            run("ip", "-n", name, "link", "set", cable, "up")
            run("ip", "-n", name, "route", "add", "default", "dev", cable)
        return self

    def slow(self):
        run("tc", "-n", self.names[0], "qdisc", "replace", "dev", "ca", "root", "tbf", "rate", SLOW, "burst", "64k", "latency", "50ms")

    def carried(self):
        """Bytes that have gone from the sender's side to the other."""
        words = ["ip", "netns", "exec", self.names[0], "cat", "/sys/class/net/ca/statistics/tx_bytes"]
        return int(subprocess.run(words, check=True, capture_output=True).stdout)

    def fast(self):
        run("tc", "-n", self.names[0], "qdisc", "del", "dev", "ca", "root")

    def remove(self):
        for name in self.names:
            subprocess.run(["ip", "netns", "delete", name], stderr=subprocess.DEVNULL)

    def __exit__(self, *_):
        self.remove()


class Ours:
    name = "peer-cli"

    def __init__(self, options):
        self.path = {"PATH": str(options.programs) + os.pathsep + os.environ["PATH"]}

    def send(self, net, folder, what):
        self.typed = f"peer-cli share {what}"
        sender = End(net.names[0], folder, self.typed, self.path)
        self.line = sender.until(r"^ *(peer-cli get p2p\w+)")
        return sender

    def receive(self, net, folder):
        return self.line, End(net.names[1], folder, self.line, self.path)

    def confirm(self, receiver):
        pass

    def place(self, folder, what):
        return folder / what


class Sendme(Ours):
    name = "sendme"
    # It reaches no relay here, and would wait for one. A newcomer types nothing of this.
    flags = " --relay disabled"

    def __init__(self, options):
        self.path = {}

    def send(self, net, folder, what):
        self.typed = f"sendme send {what}"
        sender = End(net.names[0], folder, self.typed + self.flags + " --ticket-type addresses")
        ticket = sender.until(r"sendme receive (\w+)").strip()
        # A ticket that is longer than the screen goes on in the next lines.
        text = "".join(line.ljust(COLUMNS) if len(line) == COLUMNS else line + "\n" for line in sender.screen.read())
        self.line = "sendme receive " + re.search(r"sendme receive (\w+)", text).group(1)
        assert ticket in self.line
        return sender

    def receive(self, net, folder):
        return self.line, End(net.names[1], folder, self.line + self.flags)


class Wormhole(Ours):
    name = "magic-wormhole"

    def __init__(self, options):
        self.path = {"WORMHOLE_RELAY_URL": f"ws://{HERE}:4000/v1"}

    def serve(self, net, folder):
        words = ["ip", "netns", "exec", net.names[0], "twist", "wormhole-mailbox", "--port", f"tcp:4000:interface={HERE}"]
        server = subprocess.Popen(words, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(4)
        return server

    def send(self, net, folder, what):
        self.typed = f"wormhole send {what}"
        sender = End(net.names[0], folder, self.typed, self.path)
        self.line = "wormhole receive " + sender.until(r"wormhole receive (\d+-\S+)")
        return sender

    def receive(self, net, folder):
        return self.line + "y", End(net.names[1], folder, self.line, self.path)

    def confirm(self, receiver):
        receiver.until(r"ok\? \(Y/n\)")
        receiver.type("y\n")


class Rqbit(Ours):
    name = "rqbit"

    def __init__(self, options):
        self.path = {}

    def send(self, net, folder, what):
        """A torrent is made and passed on by other ways; its peers find each other on the network, or are named."""
        self.typed = f"rqbit share {what}"
        sender = End(net.names[0], folder, f"rqbit --ipv4-only --disable-upnp-port-forward share {what}")
        self.line = "rqbit download -o . '" + sender.until(r"(magnet:\S+)") + "'"
        return sender

    def receive(self, net, folder):
        return self.line, End(net.names[1], folder, self.line.replace("rqbit download", "rqbit --ipv4-only download --exit-on-finish"))


class Aria2(Ours):
    name = "aria2"

    def __init__(self, options):
        self.path = {}

    def serve(self, net, folder):
        (folder / "logs").mkdir()
        (folder / "nginx.conf").write_text(
            f"user root; daemon off; pid {folder}/pid; error_log {folder}/logs/error; events {{}} http {{ access_log off; sendfile on;"
            f" server {{ listen {HERE}:8088; root {folder}; }} }}"
        )
        words = ["ip", "netns", "exec", net.names[0], "nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")]
        server = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(1)
        return server

    def send(self, net, folder, what):
        self.typed, self.what = "", what
        self.files = sorted(path for path in (folder / what).rglob("*") if path.is_file()) if (folder / what).is_dir() else None
        self.folder = folder
        return None

    def receive(self, net, folder):
        if self.files is None:
            line = f"aria2c http://{HERE}:8088/{self.what}"
            return line, End(net.names[1], folder, line)
        listed = "".join(f"http://{HERE}:8088/{file.relative_to(self.folder)}\n  out={file.relative_to(self.folder)}\n" for file in self.files)
        (folder / "list.txt").write_text(listed)
        line = "aria2c -i list.txt"
        return line, End(net.names[1], folder, line)


# With what each needs to be here.
PROGRAMS = {
    "peer-cli": (Ours, ["peer-cli"]),
    "sendme": (Sendme, ["sendme"]),
    "wormhole": (Wormhole, ["wormhole", "twist"]),
    "rqbit": (Rqbit, ["rqbit"]),
    "aria2": (Aria2, ["aria2c", "nginx"]),
}


def digest(path):
    """Of a file, or of all files of a folder."""
    if path.is_file():
        return sha256(path)
    files = sorted(file.relative_to(path) for file in path.rglob("*") if file.is_file())
    return hashlib.sha256("".join(f"{file} {digest(path / file)}\n" for file in files).encode()).hexdigest()


def sha256(path):
    sum = hashlib.sha256()
    with path.open("rb") as file:
        while data := file.read(1 << 20):
            sum.update(data)
    return sum.hexdigest()


def sample(program, net, source, what, folder, killed_at=None):
    """One transfer, in words and figures."""
    folder.mkdir()
    began = time.monotonic()
    sender = program.send(net, source, what)
    ready = time.monotonic() - began
    others = [sender] if sender else []
    try:
        if killed_at is not None:
            _, receiver = program.receive(net, folder)
            program.confirm(receiver)
            until, before = time.monotonic() + DEADLINE, net.carried()
            while net.carried() - before < killed_at and time.monotonic() < until and receiver.look(0.05):
                for other in others:
                    other.look(0)
            receiver.stop(signal.SIGKILL)
            before = net.carried()
        line, receiver = program.receive(net, folder)
        program.confirm(receiver)
        code = receiver.ends(others, 60 if killed_at is not None else DEADLINE)
        is_equal = any(path.exists() and digest(path) == digest(source / what) for path in (program.place(folder, what), folder / "output" / what))
        time.sleep(0.5)
        for other in others:
            other.look(0)
        lines = (len(sender.screen.read()) if sender else 0, len(receiver.screen.read()))
        words = f"{receiver.took:6.2f} s  ready {ready:5.2f} s  typed {len(program.typed)}, {len(line)}  read {lines[0]}, {lines[1]}"
        print(f"{program.name:>15}  {what:<9} {words}  status {code}  {'equal' if is_equal else 'NOT EQUAL'}", flush=True)
        if killed_at is not None:
            print(f"{'':>15}  {(net.carried() - before) >> 20} MiB were sent after that", flush=True)
        if killed_at is not None or not is_equal:
            for end, name in ((sender, "sender"), (receiver, "receiver")):
                print("\n".join(f"                 {name}: {shown}" for shown in (end.screen.read()[-8:] if end else [])), flush=True)
    except RuntimeError as error:
        print(f"{program.name:>15}  {what:<9} {error}", flush=True)
        if sender:
            print("\n".join(f"                 sender: {shown}" for shown in sender.screen.read()[-8:]), flush=True)
    finally:
        for end in others + ([receiver] if "receiver" in dir() else []):
            end.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", type=Path, default=Path("target/release"), help="folder of our own programs")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only", nargs="*", choices=PROGRAMS, default=list(PROGRAMS))
    options = parser.parse_args()
    options.programs = options.programs.resolve()
    if os.geteuid() != 0:
        sys.exit("network namespaces need root")
    with tempfile.TemporaryDirectory() as folder, Network() as net:
        folder = Path(folder)
        source = folder / "source"
        source.mkdir()
        noise = random.Random(1)
        with (source / "file.bin").open("wb") as file:
            for _ in range(300):
                file.write(noise.randbytes(1 << 20))
        for number in range(500):
            inside = source / "folder" / str(number % 10)
            inside.mkdir(parents=True, exist_ok=True)
            (inside / f"{number}.bin").write_bytes(noise.randbytes(noise.randrange(400_000)))
        path = str(options.programs) + os.pathsep + os.environ["PATH"]
        there = {name for name in options.only if all(shutil.which(needed, path=path) for needed in PROGRAMS[name][1])}
        for name in set(options.only) - there:
            print(f"{name} is not here, and is left out")
        programs = [PROGRAMS[name][0](options) for name in options.only if name in there]
        servers = [program.serve(net, source) for program in programs if hasattr(program, "serve")]
        try:
            for turn in range(options.rounds):
                for what in ("file.bin", "folder"):
                    for program in programs:
                        sample(program, net, source, what, folder / f"{program.name}-{what}-{turn}")
            net.slow()
            print(f"over {SLOW}, killed at a third, and the same line again")
            for program in programs:
                sample(program, net, source, "file.bin", folder / f"{program.name}-killed", killed_at=100 << 20)
            net.fast()
        finally:
            for server in servers:
                server.terminate()
                server.wait()


if __name__ == "__main__":
    main()
