"""The queue as clients see it: full, too slow, and in order of priority."""

import threading
import time

import numpy as np
import pytest

from model_repository import SLOW
from triton_clients import CLIENTS, connect
from wattle_server import eventually

ONE = {"x": np.ones((1, 3), np.float32)}


@pytest.fixture(params=CLIENTS)
def kind(request):
    return request.param


@pytest.fixture
def parked(server):
    """The model `queued` with nobody to run it: requests wait until it is turned on again."""
    server.turn("queued", instances=0)
    yield "queued"
    server.turn("queued", instances=1)
    eventually(lambda: server.queued("queued") == 0)


class Asking(threading.Thread):
    """Asks in a thread of its own, with a client of its own."""

    def __init__(self, kind, server, model, arrays, done=None, **more):
        super().__init__(daemon=True)
        self.told = (kind, server, model, arrays, done, more)
        self.answer = self.error = None
        self.start()

    def run(self):
        kind, server, model, arrays, done, more = self.told
        client = connect(kind, server)
        try:
            self.answer = client.ask(model, arrays, **more)
        except Exception as error:
            self.error = error
        if done is not None:
            done.append(self)
        client.close()


def test_a_full_queue_refuses_and_answers_those_that_wait(server, parked, kind):
    waiting = [Asking(kind, server, parked, ONE) for _ in range(2)]
    eventually(lambda: server.queued(parked) == 2)
    client = connect(kind, server)
    error = client.failure(parked, ONE)
    client.close()
    assert error.status == client.status(503, "UNAVAILABLE")
    assert "Exceeds maximum queue size: 2 requests wait" in error.text
    server.turn(parked, instances=1)
    for one in waiting:
        one.join(30)
        np.testing.assert_array_equal(one.answer.as_numpy("y"), ONE["x"])


def test_a_request_whose_time_is_up_is_refused(server, parked, kind):
    client = connect(kind, server)
    started = time.monotonic()
    error = client.failure(parked, ONE, timeout=100_000)
    took = time.monotonic() - started
    client.close()
    assert error.status == client.status(503, "UNAVAILABLE")
    assert "Request timeout expired" in error.text
    assert 0.1 <= took < 10
    assert server.queued(parked) == 0


def test_503_says_when_to_try_again(server, parked):
    body = '{"parameters":{"timeout":1000},"inputs":[{"name":"x","shape":[1,3],"datatype":"FP32","data":[1,2,3]}]}'
    status, head, _ = server.ask("POST", f"/v2/models/{parked}/infer", body)
    assert status == 503 and int(head["retry-after"]) >= 1


def test_a_slow_model_sheds_what_it_cannot_queue(server):
    arrays = {"x": np.eye(SLOW, dtype=np.float32)}
    many = [Asking("grpc" if number % 2 else "http", server, "slow", arrays) for number in range(12)]
    for one in many:
        one.join(120)
    answered = [one for one in many if one.answer is not None]
    for one in answered:
        np.testing.assert_allclose(one.answer.as_numpy("y"), np.eye(SLOW), atol=1e-3)
    refused = [str(one.error) for one in many if one.error is not None]
    assert answered and refused and len(answered) + len(refused) == 12
    assert all("Exceeds maximum queue size: 1 requests wait for model 'slow'" in text for text in refused)


def test_priority_one_goes_first(server, parked):
    server.turn(parked, batch_size=1, max_queue_size=10)
    done = []
    order = [3, 2, 1, 3, 1]
    asked = []
    for number, priority in enumerate(order):
        asked.append(Asking("http", server, parked, ONE, done, priority=priority))
        eventually(lambda: server.queued(parked) == number + 1)
    # Slow enough between batches that the order of the answers is that of the batches.
    server.turn(parked, duty_cycle=0.01)
    server.turn(parked, instances=1)
    for one in asked:
        one.join(60)
    server.turn(parked, batch_size=4, max_queue_size=2, duty_cycle=1.0)
    assert [one.error for one in asked] == [None] * 5
    priorities = [one.told[5]["priority"] for one in done]
    assert sorted(priorities) == sorted(order)
    assert priorities == sorted(order) or priorities[:2] == [1, 1]


def test_refused_and_expired_requests_are_counted_as_failed(server, parked):
    before = server.statistics(parked)["inference_stats"]["fail"]["count"]
    client = connect("http", server)
    client.failure(parked, ONE, timeout=1000)
    client.close()
    assert server.statistics(parked)["inference_stats"]["fail"]["count"] == before + 1
    assert server.statistics(parked)["inference_stats"]["success"]["count"] >= 0


def test_requests_of_a_batch_run_together(server, parked):
    server.turn(parked, max_queue_size=10)
    before = server.statistics(parked)
    waiting = [Asking("http", server, parked, ONE) for _ in range(4)]
    eventually(lambda: server.queued(parked) == 4)
    server.turn(parked, instances=1)
    for one in waiting:
        one.join(30)
    after = server.statistics(parked)
    server.turn(parked, max_queue_size=2)
    assert after["inference_count"] - before["inference_count"] == 4
    assert after["execution_count"] - before["execution_count"] == 1
