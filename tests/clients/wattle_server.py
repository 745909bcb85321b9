"""Starts and stops the real binary, and speaks plain HTTP to it."""

import http.client
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Wattle:
    """A running server; its addresses are read from what it prints."""

    def __init__(self, models, runtime, folder, *flags):
        self.log = folder / f"wattle-{runtime}-{time.monotonic_ns()}.log"
        command = [os.environ.get("WATTLE", ROOT / "target/release/wattle"), "--log", "info", "serve"]
        command += ["--models", models, "--runtime", runtime, "--cores", "2", "--no-ledger"]
        command += ["--http-port", "0", "--grpc-port", "0", "--metrics-port", "0", *flags]
        # Power is said, not measured, so that answers name an energy on any machine.
        command += ["--cpu-idle-watts", "2", "--cpu-full-watts", "8"]
        if runtime == "onnxruntime":
            command += ["--ort-lib", ort_library()]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        printed = ""
        for line in self.process.stdout:
            printed += line
            if "dashboard" in line:
                break
        address = lambda what: re.search(rf"^ +{what} +(?:http://)?([^/\s]+)", printed, re.M)
        if not address("dashboard"):
            raise RuntimeError(f"wattle did not start:\n{printed}{self.log.read_text()}")
        self.http, self.grpc, self.admin = (address(what)[1] for what in ("http", "grpc", "dashboard"))

    def stop(self):
        """Ends it in order, and checks that nothing in it panicked."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(60)
        log = self.log.read_text()
        assert code == 0, f"exit code {code}:\n{log[-4000:]}"
        assert "panicked" not in log, log

    def ask(self, method, path, body=None, headers=None, port="http"):
        """Status, headers and body of one plain HTTP request."""
        connection = http.client.HTTPConnection(getattr(self, port), timeout=60)
        try:
            if body is not None and not isinstance(body, (bytes, str)):
                body = json.dumps(body)
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def error(self, method, path, body=None, headers=None):
        """Status and text of an error, whose body must be JSON with one key."""
        status, head, text = self.ask(method, path, body, headers)
        assert status >= 400, text
        assert head["content-type"] == "application/json"
        answer = json.loads(text)
        assert list(answer) == ["error"], answer
        return status, answer["error"]

    def infer(self, model, body, headers=None):
        """The JSON answer to one inference request, which must succeed."""
        status, _, text = self.ask("POST", f"/v2/models/{model}/infer", body, headers)
        assert status == 200, text
        return json.loads(text)

    def turn(self, model, **knobs):
        """Turns knobs over the admin API."""
        status, _, text = self.ask("PUT", f"/wattle/v1/models/{model}/knobs", knobs, port="admin")
        assert status == 200, text

    def statistics(self, model):
        """The statistics of the one served version of `model`."""
        _, _, text = self.ask("GET", f"/v2/models/{model}/stats")
        [one] = json.loads(text)["model_stats"]
        return one

    def queued(self, model):
        """How many requests wait."""
        _, _, text = self.ask("GET", "/metrics", port="admin")
        label = f'nv_inference_pending_request_count{{model="{model}"'
        return sum(float(line.split()[-1]) for line in text.decode().splitlines() if line.startswith(label))


def ort_library():
    """The shared library in the installed onnxruntime package."""
    import onnxruntime

    [library] = Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so.*")
    return library


def eventually(check, seconds=20):
    """Waits until `check` holds."""
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)
