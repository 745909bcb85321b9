#!/usr/bin/env python3
"""Watches a server's memory under load and under model load/unload cycles, and its CPU time when idle.

Needs only Python's standard library. Starts the server itself, on loopback and free ports.

    benches/soak.py [--wattle target/release/wattle] [--minutes 10] [--cycles 100] [-- SERVE FLAGS]

Prints resident memory at each stage, the growth over the second half of the load, the growth per
load/unload cycle, and the share of one core an idle server uses.
"""

import argparse
import http.client
import json
import os
import re
import struct
import subprocess
import threading
import time
from pathlib import Path

MODELS = Path(__file__).resolve().parent.parent / "examples" / "models"


def start(wattle, flags):
    """Starts a server; gives the process and the address of its HTTP port."""
    ports = ["--http-port", "0", "--grpc-port", "0", "--metrics-port", "0", "--no-ledger"]
    command = [wattle, "--log", "warn", "serve", "--models", str(MODELS), *ports, *flags]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    address = None
    for line in process.stdout:
        found = re.match(r"\s+http\s+http://(\S+)", line)
        address = found.group(1) if found else address
        if "dashboard" in line:
            return process, address
    raise SystemExit("the server did not start")


def resident_mib(process):
    """Resident memory of the process in MiB."""
    with open(f"/proc/{process.pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024


def cpu_seconds(process):
    """CPU time of the process, in seconds."""
    with open(f"/proc/{process.pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def infer(connection, model, rows):
    """Sends one request over HTTP with the binary tensor extension; any answer but 200 is an error."""
    tensor = struct.pack("<64f", *(float(pixel % 17) for pixel in range(64))) * rows
    header = json.dumps({
        "inputs": [{"name": "image", "shape": [rows, 1, 8, 8], "datatype": "FP32",
                    "parameters": {"binary_data_size": len(tensor)}}],
        "parameters": {"binary_data_output": True},
    }).encode()
    headers = {"Inference-Header-Content-Length": str(len(header))}
    connection.request("POST", f"/v2/models/{model}/infer", header + tensor, headers)
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != 200:
        raise RuntimeError(f"{answer.status}: {body[:200]}")


def load(address, seconds, errors):
    """One client: every model in turn, at changing batch sizes."""
    connection = http.client.HTTPConnection(address)
    end, turn = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        try:
            infer(connection, f"digits-{('xs', 's', 'm', 'l')[turn % 4]}", (1, 4, 32, 9)[turn // 4 % 4])
        except RuntimeError as error:
            errors.append(str(error))
        turn += 1


def control(connection, model, action):
    """Loads or unloads a model."""
    connection.request("POST", f"/v2/repository/models/{model}/{action}", b"")
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != 200:
        raise SystemExit(f"{action} of {model}: {answer.status} {body!r}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wattle", default="target/release/wattle")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--cycles", type=int, default=100)
    parser.add_argument("--clients", type=int, default=2)
    parser.add_argument("flags", nargs="*", help="more flags of `wattle serve`, after --")
    args = parser.parse_args()
    process, address = start(args.wattle, args.flags)
    try:
        time.sleep(5)
        before, began = cpu_seconds(process), time.monotonic()
        time.sleep(20)
        idle = (cpu_seconds(process) - before) / (time.monotonic() - began)
        print(f"idle: {100 * idle:.2f} % of one core, {resident_mib(process):.1f} MiB")

        errors, samples = [], []
        seconds = args.minutes * 60
        clients = [threading.Thread(target=load, args=(address, seconds, errors)) for _ in range(args.clients)]
        for client in clients:
            client.start()
        for part in range(10):
            time.sleep(seconds / 10)
            samples.append(resident_mib(process))
            print(f"load {100 * (part + 1) // 10:3d} %: {samples[-1]:.1f} MiB", flush=True)
        for client in clients:
            client.join()
        print(f"growth over the second half of {args.minutes:g} minutes: {samples[-1] - samples[4]:+.1f} MiB, "
              f"{len(errors)} requests failed {errors[:1]}")

        connection = http.client.HTTPConnection(address)
        at_first = None
        for cycle in range(args.cycles):
            for model in ("digits-m", "digits-l"):
                control(connection, model, "unload")
                control(connection, model, "load")
                infer(connection, model, 8)
            if cycle + 1 in (args.cycles // 10, args.cycles // 2, args.cycles):
                time.sleep(1)
                now = resident_mib(process)
                at_first = at_first or (cycle, now)
                print(f"cycle {cycle + 1}: {now:.1f} MiB", flush=True)
        growth = (now - at_first[1]) * 1024 / max(args.cycles - 1 - at_first[0], 1)
        print(f"growth per load/unload cycle: {growth:+.1f} KiB")
    finally:
        process.terminate()
        print(f"the server ended with {process.wait(timeout=60)}")


if __name__ == "__main__":
    main()
