"""Many clients at once, while models come and go and knobs are turned: no request is lost."""

import json
import random
import threading
import time
from collections import Counter

import numpy as np

from triton_clients import connect, rows

SECONDS = 5
THREADS = 64


def sum_difference(client, seed):
    arrays, expected = rows(1 + seed % 8, seed)
    answer = client.ask("sum_difference", arrays, binary=seed % 2 == 0)
    for name, array in expected.items():
        np.testing.assert_array_equal(answer.as_numpy(name), array)


def times(client, seed):
    array = np.full((1 + seed % 4, 3), seed % 1000, np.float32)
    version = ["1", "3"][seed % 2]
    answer = client.ask("times", {"x": array}, model_version=version, request_id=str(seed))
    np.testing.assert_array_equal(answer.as_numpy("y"), array * int(version))
    response = answer.get_response()
    assert (response["id"] if client.is_http else response.id) == str(seed)


def identity(client, seed):
    array = np.random.default_rng(seed).random((1 + seed % 3, 1 + seed % 50), np.float32)
    np.testing.assert_array_equal(client.ask("identity_FP32", {"x": array}).as_numpy("y"), array)


def transpose(client, seed):
    array = np.random.default_rng(seed).random((2, 3), np.float32)
    np.testing.assert_array_equal(client.ask("transpose", {"x": array}).as_numpy("y"), array.T)


def comes_and_goes(client, seed):
    """The one model that may be away; nothing else may go wrong with it."""
    arrays, expected = rows(2, seed)
    try:
        answer = client.ask("comes_and_goes", arrays)
    except Exception as error:
        assert "Request for unknown model: 'comes_and_goes'" in str(error), error
        return "away"
    np.testing.assert_array_equal(answer.as_numpy("OUTPUT0"), expected["OUTPUT0"])


ASKS = [sum_difference, times, identity, transpose, comes_and_goes]


def test_no_request_is_lost_and_every_answer_is_right(server):
    end = time.monotonic() + SECONDS
    outcomes, wrong = Counter(), []

    def ask(number):
        client = connect(["http", "grpc", "http", "grpc", "http.aio", "grpc.aio", "http", "grpc"][number % 8], server)
        luck = random.Random(number)
        while time.monotonic() < end and len(wrong) < 20:
            what = luck.choice(ASKS)
            try:
                outcomes[what(client, luck.randrange(1 << 20)) or what.__name__] += 1
            except Exception as error:
                wrong.append(f"{client.kind} {what.__name__}: {error!r}"[:500])
        client.close()

    def load():
        control = connect("http", server)
        number = 0
        while time.monotonic() < end:
            number += 1
            for name in ("sum_difference", "times", "identity_FP32", "transpose"):
                control.load_model(name)
            (control.unload_model if number % 2 else control.load_model)("comes_and_goes")
            outcomes["reloads"] += 1
        control.load_model("comes_and_goes")
        control.close()

    def turn():
        luck = random.Random(7)
        while time.monotonic() < end:
            for name in ("sum_difference", "times", "identity_FP32", "transpose"):
                knobs = {
                    "instances": luck.choice([1, 2, 3]),
                    "cores_per_instance": luck.choice([1, 2]),
                    "duty_cycle": luck.choice([0.5, 0.9, 1.0]),
                    "max_queue_delay_us": luck.choice([0, 0, 500]),
                }
                if name != "transpose":
                    knobs["batch_size"] = luck.choice([1, 2, 8])
                server.turn(name, **knobs)
                outcomes["turns"] += 1
            time.sleep(0.02)

    threads = [threading.Thread(target=ask, args=[number]) for number in range(THREADS)]
    threads += [threading.Thread(target=act) for act in (load, turn)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Fresh knobs for the tests that follow.
    for name in ("sum_difference", "times", "identity_FP32", "transpose"):
        assert server.ask("POST", f"/v2/repository/models/{name}/load")[0] == 200
    print(dict(outcomes))
    assert not wrong, "\n".join(wrong)
    assert outcomes["reloads"] > 0 and outcomes["turns"] > 0
    for what in ASKS:
        assert outcomes[what.__name__] > 0, outcomes


def test_unloading_under_load_answers_what_was_accepted(server):
    """Requests that wait when their model is unloaded are answered, not dropped."""
    server.turn("queued", instances=0, max_queue_size=100)
    answers = []

    def ask():
        body = {"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}]}
        answers.append(server.ask("POST", "/v2/models/queued/infer", body))

    threads = [threading.Thread(target=ask) for _ in range(10)]
    for thread in threads:
        thread.start()
    end = time.monotonic() + 20
    while server.queued("queued") < 10 and time.monotonic() < end:
        time.sleep(0.01)
    assert server.ask("POST", "/v2/repository/models/queued/unload")[0] == 200
    for thread in threads:
        thread.join()
    assert server.ask("POST", "/v2/repository/models/queued/load")[0] == 200
    assert [status for status, _, _ in answers] == [200] * 10
    assert all(json.loads(body)["outputs"][0]["data"] == [1.0, 2.0, 3.0] for _, _, body in answers)
