"""How a server ends that is told to stop."""

import threading

import pytest

from wattle_server import Wattle, eventually


def start(folder, runtime):
    return Wattle(folder, runtime, folder.parent)


def test_it_ends_with_code_zero_each_time(folder, runtime):
    for _ in range(5):
        start(folder, runtime).stop()


def test_it_ends_with_code_zero_right_after_a_reload(folder, runtime):
    for _ in range(3):
        server = start(folder, runtime)
        for name in ("plain", "times", "sum_difference"):
            assert server.ask("POST", f"/v2/repository/models/{name}/load")[0] == 200
        server.stop()


@pytest.mark.parametrize("waiting", [2])
def test_what_it_has_accepted_is_answered_first(folder, runtime, waiting):
    server = start(folder, runtime)
    server.turn("queued", instances=0)
    body = {"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}]}
    answers = []
    ask = lambda: answers.append(server.ask("POST", "/v2/models/queued/infer", body)[0])
    threads = [threading.Thread(target=ask) for _ in range(waiting)]
    for thread in threads:
        thread.start()
    eventually(lambda: server.queued("queued") == waiting)
    server.turn("queued", instances=1, duty_cycle=0.01)
    server.stop()
    for thread in threads:
        thread.join()
    assert answers == [200] * waiting
