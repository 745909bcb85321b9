"""Models loaded, unloaded and loaded anew over the repository extension, with tritonclient."""

import base64
import http.client
import json
import shutil
import time

import numpy as np
import pytest

from triton_clients import CLIENTS, InferenceServerException, connect, rows


@pytest.fixture(scope="module", params=CLIENTS)
def client(request, server):
    client = connect(request.param, server)
    yield client
    client.close()


def index(client):
    """State and reason of each model, by name and version."""
    lines = client.json("get_model_repository_index")
    lines = lines.get("models", []) if isinstance(lines, dict) else lines
    return {(line["name"], line.get("version", "")): (line.get("state", ""), line.get("reason", "")) for line in lines}


def test_the_index_has_every_model_with_its_state(client):
    found = index(client)
    assert found[("plain", "1")] == ("READY", "")
    assert found[("times", "1")][0] == found[("times", "3")][0] == "READY"
    state, reason = found[("broken", "")]
    assert state == "UNAVAILABLE" and "not an ONNX model" in reason


def test_a_model_goes_and_comes_back(client):
    arrays, expected = rows(1)
    client.unload_model("comes_and_goes")
    assert not client.is_model_ready("comes_and_goes")
    assert index(client)[("comes_and_goes", "")] == ("UNAVAILABLE", "unloaded")
    assert "Request for unknown model: 'comes_and_goes'" in client.failure("comes_and_goes", arrays).text
    client.unload_model("comes_and_goes")  # done already
    client.load_model("comes_and_goes")
    assert client.is_model_ready("comes_and_goes")
    np.testing.assert_array_equal(client.ask("comes_and_goes", arrays).as_numpy("OUTPUT0"), expected["OUTPUT0"])


def test_a_load_may_bring_its_own_configuration(client):
    config = lambda: client.json("get_model_config", "plain")
    batch = lambda: (config().get("config") or config())["max_batch_size"]
    assert batch() == 32
    # Clients send numbers as text.
    client.load_model("plain", config=json.dumps({"max_batch_size": "16"}))
    assert batch() == 16
    assert "batch-size must be <= 16" in client.failure("plain", rows(17)[0]).text
    client.load_model("plain")
    assert batch() == 32


def failed_load(client, name, status=None, **more):
    with pytest.raises(InferenceServerException) as error:
        client.load_model(name, **more)
    assert error.value.status() == (status or client.status(400, "INVALID_ARGUMENT"))
    return error.value.message()


def test_loads_that_fail_say_what_was_expected_and_leave_what_was_served(client):
    fails = lambda config: failed_load(client, "plain", config=json.dumps(config))
    assert "failed to load 'nobody'" in failed_load(client, "nobody")
    assert "no folder \"nobody\" in the model repository" in failed_load(client, "nobody")
    assert "not an ONNX model" in failed_load(client, "broken")
    assert "expected \"onnxruntime\"" in fails({"backend": "python"})
    assert "expected \"plain\", the name of its folder" in fails({"name": "other"})
    assert "not there; found [1]" in fails({"version_policy": {"specific": {"versions": [4]}}})
    assert "declared FP32, but is INT32" in fails({"max_batch_size": 8, "input": [{"name": "INPUT0", "data_type": "TYPE_FP32", "dims": [16]}]})
    assert "it has INPUT0, INPUT1" in fails({"max_batch_size": 8, "input": [{"name": "NO", "data_type": "TYPE_INT32", "dims": [16]}]})
    assert "declared with shape [-1, 15], but has shape [-1, 16]" in fails({"max_batch_size": 8, "input": [{"name": "INPUT0", "data_type": "TYPE_INT32", "dims": [15]}]})
    assert "max_batchsize" in fails({"max_batchsize": 8})
    assert "the config parameter of the load request" in failed_load(client, "plain", config="{")
    assert "sequence_batching is not supported" in fails({"sequence_batching": {}})
    arrays, expected = rows(2)
    np.testing.assert_array_equal(client.ask("plain", arrays).as_numpy("OUTPUT1"), expected["OUTPUT1"])
    assert index(client)[("plain", "1")][0] == "READY"
    assert "the config parameter" in index(client)[("plain", "1")][1] or "sequence" in index(client)[("plain", "1")][1]
    client.load_model("plain")
    assert index(client)[("plain", "1")] == ("READY", "")


def test_a_batch_size_needs_an_open_first_dimension(client):
    text = failed_load(client, "transpose", config=json.dumps({"max_batch_size": 4}))
    assert "max_batch_size is 4, but x has shape [2, 3]" in text and "set max_batch_size = 0" in text


def test_files_in_a_load_request_are_refused_not_ignored(client):
    files = {"file:1/model.onnx": b"x"}
    text = failed_load(client, "plain", client.status(501, "UNIMPLEMENTED"), config="{}", files=files)
    assert "'file:1/model.onnx' is not supported, expected 'config'" in text


def test_names_that_leave_the_repository_are_refused(server):
    for name in ("..", "%2e%2e", "a%2f..%2fplain", ".hidden"):
        status, _, body = server.ask("POST", f"/v2/repository/models/{name}/load")
        assert status in (400, 404), name
        assert json.loads(body)["error"]


def test_load_bodies_that_are_wrong_are_told_what_was_expected(server):
    path = "/v2/repository/models/plain/load"
    assert "failed to parse the request JSON" in server.error("POST", path, "{")[1]
    status, text = server.error("POST", path, {"parameters": {"config": {"max_batch_size": 8}}})
    assert status == 400 and "expected JSON as text" in text
    encoded = base64.b64encode(b"x").decode()
    assert server.error("POST", path, {"parameters": {"file:1/model.onnx": encoded}})[0] == 501


def test_the_index_of_ready_models_leaves_out_the_rest(server):
    _, _, text = server.ask("POST", "/v2/repository/index", {"ready": True})
    lines = json.loads(text)
    assert lines and all(line["state"] == "READY" for line in lines)
    assert "broken" not in {line["name"] for line in lines}


def test_a_new_version_is_served_after_a_reload(server, folder):
    request = {"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 1, 1]}]}
    shutil.copytree(folder / "times" / "2", folder / "grows" / "1")
    assert server.error("POST", "/v2/models/grows/infer", request)[0] == 404
    assert server.ask("POST", "/v2/repository/models/grows/load")[0] == 200
    assert server.infer("grows", request)["outputs"][0]["data"] == [2.0] * 3
    shutil.copytree(folder / "times" / "3", folder / "grows" / "2")
    assert server.infer("grows", request)["model_version"] == "1"
    assert server.ask("POST", "/v2/repository/models/grows/load")[0] == 200
    answer = server.infer("grows", request)
    assert (answer["model_version"], answer["outputs"][0]["data"]) == ("2", [3.0] * 3)
    shutil.rmtree(folder / "grows")


@pytest.mark.parametrize("toml, text", [("batch = 1", "unknown field `batch`"), ("[batching]\nmax_batch_size = -1", "-1"), ('platform = "tensorflow"', 'expected "onnx"'), ("[batching]\npriority_levels = 2\ndefault_priority = 3", "expected 1 to 2"), ("[instances]\ncount = 1000", "expected")])
def test_a_wrong_model_toml_is_told_what_was_expected(server, folder, toml, text):
    shutil.copytree(folder / "times" / "1", folder / "wrong" / "1")
    (folder / "wrong" / "model.toml").write_text(toml)
    status, error = server.error("POST", "/v2/repository/models/wrong/load")
    shutil.rmtree(folder / "wrong")
    assert status == 400 and text in error and "failed to load 'wrong'" in error


def test_a_wrong_config_pbtxt_is_told_what_was_expected(server, folder):
    shutil.copytree(folder / "times" / "1", folder / "wrong" / "1")
    (folder / "wrong" / "config.pbtxt").write_text('name: "wrong"\nmax_batchsize: 4\n')
    status, error = server.error("POST", "/v2/repository/models/wrong/load")
    shutil.rmtree(folder / "wrong")
    assert status == 400 and "max_batchsize" in error and "config.pbtxt" in error


def test_a_request_under_way_when_its_model_is_replaced_is_answered_by_the_new_one(server):
    body = json.dumps({"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}]}).encode()
    connection = http.client.HTTPConnection(server.http, timeout=30)
    connection.putrequest("POST", "/v2/models/times/infer")
    connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body[:10])
    time.sleep(0.2)  # the server has found the model and waits for the rest
    assert server.ask("POST", "/v2/repository/models/times/load")[0] == 200
    time.sleep(0.2)
    connection.send(body[10:])
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    assert answer.status == 200, text
    assert json.loads(text)["outputs"][0]["data"] == [3.0, 6.0, 9.0]


def test_a_request_under_way_when_its_model_goes_is_told_that_it_is_gone(server):
    connection = http.client.HTTPConnection(server.http, timeout=30)
    connection.putrequest("POST", "/v2/models/comes_and_goes/infer")
    body = json.dumps({"inputs": [{"name": f"INPUT{n}", "shape": [1, 16], "datatype": "INT32", "data": [1] * 16} for n in (0, 1)]}).encode()
    connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body[:10])
    time.sleep(0.2)
    assert server.ask("POST", "/v2/repository/models/comes_and_goes/unload")[0] == 200
    time.sleep(0.2)
    connection.send(body[10:])
    answer = connection.getresponse()
    text = json.loads(answer.read())["error"]
    connection.close()
    assert server.ask("POST", "/v2/repository/models/comes_and_goes/load")[0] == 200
    assert answer.status == 404 and "Request for unknown model: 'comes_and_goes'" in text
