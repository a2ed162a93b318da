"""Traffic that counts what is lost, between two ends.

stream.py serve             echoes UDP and TCP on port 7000, prints "ready"
stream.py run ADDRESS RATE [SLOWER]
                            until standard input ends: RATE UDP packets/s on one socket, 100 words/s on one TCP connection,
                            and 40 new TCP connections and 40 new UDP sockets a second, of one word each (SLOWER 4: a quarter of all
                            these, and four times the patience); "ready" once all of them were answered, and at the end a line of JSON:
                            udp {sent, lost}, tcp {words, error, longest}, connections {made, failed, slow}, asked {made, unanswered}
stream.py flood ADDRESS     200 UDP packets/s to port 7001, until standard input ends, from a new socket every 10
stream.py count             counts what comes to that port, prints "ready", and the number when standard input ends
"slow": longer than 0.8 s, a retransmitted SYN or answer among them. "longest": seconds between a word and its echo.
"""
import contextlib
import json
import os
import selectors
import socket
import sys
import threading
import time

PORT = 7000


def family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def urgent():
    """Guests and their peers run on processors of their own: what is tested must not starve them. Not on a single one, nor in a cage."""
    if (os.cpu_count() or 1) > 1:
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))


def serve():
    urgent()
    udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    udp.bind(("::", PORT))
    tcp = socket.create_server(("::", PORT), family=socket.AF_INET6, backlog=512, dualstack_ipv6=True)
    ends = selectors.DefaultSelector()

    def datagrams(end):
        data, sender = end.recvfrom(4096)
        end.sendto(data, sender)

    def arrivals(end):
        connection, _ = end.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setblocking(False)
        ends.register(connection, selectors.EVENT_READ, words)

    def words(end):
        data = end.recv(4096)
        if data:
            return end.sendall(data)
        gone(end)

    def gone(end):
        ends.unregister(end)
        end.close()

    for end, act in ((udp, datagrams), (tcp, arrivals)):
        end.setblocking(False)
        ends.register(end, selectors.EVENT_READ, act)
    print("ready", flush=True)
    while True:
        for key, _ in ends.select():
            try:
                key.data(key.fileobj)
            except BlockingIOError:
                pass
            except OSError:
                if key.data is words:
                    gone(key.fileobj)


class Run:
    def __init__(self, address, rate=200, slower=1):
        self.rate = rate / slower
        self.slower = slower
        self.to = (address, PORT)
        self.family = family(address)
        self.going = True
        self.udp = {"sent": 0, "lost": 0}
        self.tcp = {"words": 0, "error": "", "longest": 0.0}
        self.connections = {"made": 0, "failed": 0, "slow": 0}
        self.asked = {"made": 0, "unanswered": 0}
        self.lock = threading.Lock()

    def paced(self, each, act):
        due = time.monotonic()
        while self.going:
            act()
            due += each
            wait = due - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            elif wait < -0.2:
                due = time.monotonic()  # the machine was busy: no burst to make up for it

    def stream(self):
        end = socket.socket(self.family, socket.SOCK_DGRAM)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        end.connect(self.to)
        end.settimeout(0.5 * self.slower)
        seen = set()

        def listen():
            while self.going or len(seen) < self.udp["sent"]:
                try:
                    seen.add(int(end.recv(64)))
                except TimeoutError:
                    if not self.going:
                        return
                except OSError:
                    pass

        listener = threading.Thread(target=listen)
        listener.start()

        def send():
            try:
                end.send(str(self.udp["sent"]).encode())
            except OSError:
                pass
            self.udp["sent"] += 1
            self.udp["lost"] = self.udp["sent"] - len(seen)

        self.paced(1 / self.rate, send)
        listener.join()
        missing = sorted(set(range(self.udp["sent"])) - seen)
        self.udp = {"sent": self.udp["sent"], "lost": len(missing), "which": missing[:20]}

    def talk(self):
        try:
            end = socket.create_connection(self.to, timeout=10 * self.slower)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

            def word():
                began = time.monotonic()
                end.sendall(b"%08d" % self.tcp["words"])
                got = b""
                while len(got) < 8:
                    part = end.recv(8 - len(got))
                    if not part:
                        raise OSError("ended")
                    got += part
                self.tcp["words"] += 1
                self.tcp["longest"] = round(max(self.tcp["longest"], time.monotonic() - began), 3)

            self.paced(0.01 * self.slower, word)
            end.close()
        except OSError as error:
            self.tcp["error"] = str(error) or type(error).__name__

    def connect(self):
        def once():
            began = time.monotonic()
            try:
                with socket.create_connection(self.to, timeout=8 * self.slower) as end:
                    end.sendall(b"word")
                    ok = end.recv(4) == b"word"
            except OSError:
                ok = False
            with self.lock:
                self.connections["made"] += 1
                self.connections["failed"] += not ok
                self.connections["slow"] += ok and time.monotonic() - began > 0.8

        self.spread(once)

    def ask(self):
        def once():
            with socket.socket(self.family, socket.SOCK_DGRAM) as end:
                end.settimeout(2 * self.slower)
                try:
                    end.connect(self.to)
                    end.send(b"ask")
                    ok = end.recv(16) == b"ask"
                except OSError:
                    ok = False
            with self.lock:
                self.asked["made"] += 1
                self.asked["unanswered"] += not ok

        self.spread(once)

    def spread(self, once):
        running = []

        def start():
            thread = threading.Thread(target=once)
            thread.start()
            running.append(thread)

        self.paced(0.025 * self.slower, start)
        for thread in running:
            thread.join()

    def all(self):
        if self.slower == 1:
            urgent()
        parts = [threading.Thread(target=part) for part in (self.stream, self.talk, self.connect, self.ask)]
        for part in parts:
            part.start()
        while not (self.udp["sent"] - self.udp["lost"] and self.tcp["words"] and self.connections["made"] and self.asked["made"]):
            time.sleep(0.02)
        print("ready", flush=True)
        sys.stdin.read()
        self.going = False
        for part in parts:
            part.join()
        names = ("udp", "tcp", "connections", "asked")
        print(json.dumps({name: getattr(self, name) for name in names}), flush=True)


def flood(address):
    print("ready", flush=True)
    run = Run(address)
    sent = 0
    end = None

    def send():
        nonlocal sent, end
        if sent % 10 == 0:
            end = socket.socket(run.family, socket.SOCK_DGRAM)
        try:
            end.sendto(b"not allowed", (address, PORT + 1))
        except OSError:
            pass
        sent += 1

    threading.Thread(target=lambda: run.paced(1 / run.rate, send)).start()
    sys.stdin.read()
    run.going = False
    print(sent, flush=True)


def count():
    came = 0
    end = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    end.bind(("::", PORT + 1))

    def listen():
        nonlocal came
        while end.recv(64):
            came += 1

    threading.Thread(target=listen, daemon=True).start()
    print("ready", flush=True)
    sys.stdin.read()
    print(came, flush=True)


if sys.argv[1] == "serve":
    serve()
elif sys.argv[1] == "flood":
    flood(sys.argv[2])
elif sys.argv[1] == "count":
    count()
else:
    Run(sys.argv[2], *map(int, sys.argv[3:])).all()
