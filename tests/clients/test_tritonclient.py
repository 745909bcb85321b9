"""tritonclient over HTTP and gRPC, blocking and asynchronous."""

import json
import time

import numpy as np
import pytest

from model_repository import CARRIED, example
from triton_clients import CLIENTS, InferenceServerException, connect, rows


@pytest.fixture(scope="module", params=CLIENTS)
def client(request, server):
    client = connect(request.param, server)
    yield client
    client.close()


def names(answer):
    """Names of the answer's outputs, in its order."""
    response = answer.get_response()
    outputs = response["outputs"] if isinstance(response, dict) else response.outputs
    return [one["name"] if isinstance(one, dict) else one.name for one in outputs]


def test_server_is_live_and_ready(client):
    assert client.is_server_live()
    assert client.is_server_ready()


def test_ready_is_true_of_served_models_and_versions_only(client):
    assert client.is_model_ready("plain")
    assert client.is_model_ready("times", "3")
    assert not client.is_model_ready("times", "2")
    assert not client.is_model_ready("nobody")


def test_server_metadata_names_the_extensions(client):
    metadata = client.json("get_server_metadata")
    assert metadata["name"] == "wattle"
    wanted = {"binary_tensor_data", "model_configuration", "model_repository", "parameters", "statistics"}
    assert wanted <= set(metadata["extensions"])


def test_model_metadata_has_tensors_and_every_served_version(client):
    metadata = client.json("get_model_metadata", "times")
    assert metadata["versions"] == ["1", "3"]
    shape = metadata["inputs"][0]["shape"]
    assert [int(size) for size in shape] == [-1, 3]
    assert metadata["inputs"][0]["datatype"] == "FP32"
    assert metadata["outputs"][0]["name"] == "y"


def test_model_config_says_what_clients_read(client):
    config = client.json("get_model_config", "sum_difference")
    config = config.get("config", config)
    assert config["max_batch_size"] == 8
    assert [tensor["name"] for tensor in config["input"]] == ["INPUT0", "INPUT1"]
    assert config["input"][0]["data_type"] == "TYPE_INT32"
    assert "dynamic_batching" in config


@pytest.mark.parametrize("binary_out", [True, False], ids=["binary out", "JSON out"])
@pytest.mark.parametrize("binary", [True, False], ids=["binary in", "JSON in"])
def test_every_mix_of_binary_and_json_gives_the_answer(client, binary, binary_out):
    arrays, expected = rows(3)
    answer = client.ask("sum_difference", arrays, binary=binary, outputs=list(expected), binary_out=binary_out)
    for name, array in expected.items():
        np.testing.assert_array_equal(answer.as_numpy(name), array)


def test_one_input_may_be_json_and_the_other_binary(client):
    arrays, expected = rows(2)
    inputs = [client.input(name, array, binary=name == "INPUT1") for name, array in arrays.items()]
    outputs = [client.output("OUTPUT0", binary=False), client.output("OUTPUT1", binary=True)]
    answer = client.infer("sum_difference", inputs, outputs=outputs)
    for name, array in expected.items():
        np.testing.assert_array_equal(answer.as_numpy(name), array)


def test_outputs_come_in_the_order_asked_for(client):
    arrays, expected = rows(1)
    answer = client.ask("sum_difference", arrays, outputs=["OUTPUT1", "OUTPUT0"])
    assert names(answer) == ["OUTPUT1", "OUTPUT0"]
    np.testing.assert_array_equal(answer.as_numpy("OUTPUT1"), expected["OUTPUT1"])
    only = client.ask("sum_difference", arrays, outputs=["OUTPUT1"])
    assert names(only) == ["OUTPUT1"]
    assert only.as_numpy("OUTPUT0") is None
    assert names(client.ask("sum_difference", arrays)) == ["OUTPUT0", "OUTPUT1"]


def test_inputs_may_come_in_any_order(client):
    arrays, expected = rows(1)
    turned = dict(reversed(arrays.items()))
    answer = client.ask("sum_difference", turned)
    np.testing.assert_array_equal(answer.as_numpy("OUTPUT1"), expected["OUTPUT1"])


def test_the_request_id_is_echoed(client):
    arrays, _ = rows(1)
    response = client.ask("plain", arrays, request_id="a/1 \u00fc").get_response()
    assert (response["id"] if isinstance(response, dict) else response.id) == "a/1 \u00fc"


@pytest.mark.parametrize("count", [1, 2, 8])
def test_a_batch_of_rows_is_answered_row_by_row(client, count):
    arrays, expected = rows(count)
    answer = client.ask("sum_difference", arrays)
    np.testing.assert_array_equal(answer.as_numpy("OUTPUT0"), expected["OUTPUT0"])


def test_every_datatype_comes_back_as_it_went_in(client, runtime):
    for datatype in CARRIED[runtime]:
        array = example(datatype)
        answer = client.ask(f"identity_{datatype}", {"x": array}, datatypes={"x": datatype})
        back = answer.as_numpy("y")
        np.testing.assert_array_equal(back, array, err_msg=datatype)
        assert back.dtype == array.dtype, datatype


def test_every_datatype_but_fp16_goes_as_json_too(client, runtime):
    for datatype in set(CARRIED[runtime]) - {"FP16", "BF16"}:
        array = example(datatype)
        more = {"datatypes": {"x": datatype}, "binary": False, "outputs": ["y"], "binary_out": False}
        back = client.ask(f"identity_{datatype}", {"x": array}, **more).as_numpy("y")
        if datatype == "BYTES":
            back = np.array([[one.encode() if isinstance(one, str) else one for one in row] for row in back])
        np.testing.assert_array_equal(back, array, err_msg=datatype)


def test_a_dimension_of_zero_gives_an_empty_answer(client, runtime):
    for shape in [(0, 3), (2, 0)]:
        answer = client.ask("identity_FP32", {"x": np.zeros(shape, np.float32)})
        assert answer.as_numpy("y").shape == shape


def test_an_unbatched_model_takes_its_own_shape(client):
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.testing.assert_array_equal(client.ask("transpose", {"x": array}).as_numpy("y"), array.T)


def test_the_version_asked_for_answers_and_else_the_latest(client):
    array = np.ones((1, 3), np.float32)
    for version, factor in [("1", 1), ("3", 3), ("", 3)]:
        answer = client.ask("times", {"x": array}, model_version=version)
        np.testing.assert_array_equal(answer.as_numpy("y"), array * factor)


def test_a_real_model_answers(client):
    metadata = client.json("get_model_metadata", "digits-s")
    [tensor] = metadata["inputs"]
    shape = [1 if int(size) == -1 else int(size) for size in tensor["shape"]]
    answer = client.ask("digits-s", {tensor["name"]: np.zeros(shape, np.float32)})
    assert np.isfinite(answer.as_numpy(metadata["outputs"][0]["name"])).all()


@pytest.mark.parametrize("answer_in", ["gzip", "deflate", None])
@pytest.mark.parametrize("request_in", ["gzip", "deflate", None])
def test_compressed_requests_and_answers(client, request_in, answer_in):
    # Large enough to be worth compressing.
    array = np.arange(2 * 4000, dtype=np.float32).reshape(2, 4000)
    if client.is_http:
        more = {"request_compression_algorithm": request_in, "response_compression_algorithm": answer_in}
    else:
        more = {"compression_algorithm": request_in}
    for outputs in (None, ["y"]):
        answer = client.ask("identity_FP32", {"x": array}, outputs=outputs, **more)
        np.testing.assert_array_equal(answer.as_numpy("y"), array)


def test_energy_is_told_when_it_is_asked_for(client):
    arrays, _ = rows(1)

    def parameters(**asked):
        response = client.ask("plain", arrays, **asked).get_response()
        if isinstance(response, dict):
            return response.get("parameters", {})
        found = response.parameters
        return {key: getattr(value, value.WhichOneof("parameter_choice")) for key, value in found.items()}

    assert parameters() == {}
    # The first batches run before the first power sample.
    for _ in range(100):
        told = parameters(parameters={"wattle_energy": True})
        if "wattle_energy_mj" in told:
            break
    assert told["wattle_energy_mj"] > 0
    assert told["wattle_power_source"].startswith("assumed: ")


def test_a_class_is_named_and_its_energy_is_booked(client, server):
    arrays, _ = rows(1)
    name = f"tenant-{client.kind}"

    def by_class():
        status, _, text = server.ask("GET", "/wattle/v1/status", port="admin")
        assert status == 200
        status = json.loads(text)["status"]
        closure = status["closure"]
        assert abs(closure["difference_joules"]) <= 1e-9 * closure["metered_joules"]
        return status["ledger"].get("by_class", {}).get(name, {"requests": 0, "energy_joules": 0})

    for _ in range(10):
        client.ask("plain", arrays, parameters={"wattle_class": name})
        client.ask("plain", arrays, headers={"x-wattle-class": name})
    deadline = time.monotonic() + 30
    while by_class()["requests"] < 20 and time.monotonic() < deadline:
        time.sleep(0.1)
    booked = by_class()
    assert booked["requests"] == 20 and booked["rows"] == 20
    assert booked["energy_joules"] > 0
    error = client.failure("plain", arrays, parameters={"wattle_class": "no class"})
    assert error.status == client.status(400, "INVALID_ARGUMENT")
    assert "expected 1 to 64 of the characters" in error.text


def test_unknown_models_and_versions_are_not_found(client):
    arrays, _ = rows(1)
    for model, version, key in [("nobody", "", "'nobody' is not found; served now: "), ("plain", "7", "version 7 is not found; served versions: 1")]:
        error = client.failure(model, arrays, model_version=version)
        assert error.status == client.status(404, "NOT_FOUND")
        assert error.text.startswith("Request for unknown model: ") and key in error.text
        for call in ("get_model_metadata", "get_model_config"):
            with pytest.raises(InferenceServerException, match="Request for unknown model"):
                getattr(client, call)(model, version)


@pytest.mark.parametrize(
    "arrays, more, texts",
    [
        ({"INPUT0": (1, 15), "INPUT1": (1, 16)}, {}, ["unexpected shape for input 'INPUT0'", "Expected [-1, 16], got [1, 15]"]),
        ({"INPUT0": (16,), "INPUT1": (1, 16)}, {}, ["unexpected shape", "Expected [-1, 16], got [16]"]),
        ({"INPUT0": (9, 16), "INPUT1": (9, 16)}, {}, ["batch-size must be <= 8", "got 9"]),
        ({"INPUT0": (1, 16), "INPUT1": (2, 16)}, {}, ["batch size does not match", "expected 1 rows"]),
        ({"INPUT0": (1, 16)}, {}, ["expected 2 inputs but got 1", "'INPUT1' INT32 [-1, 16]"]),
        ({"INPUT0": (1, 16), "INPUT1": (1, 16), "MORE": (1, 16)}, {}, ["expected 2 inputs but got 3"]),
        ({"INPUT0": (1, 16), "OTHER": (1, 16)}, {}, ["input 'INPUT1' is missing", "got INPUT0, OTHER"]),
        ({"INPUT0": (1, 16), "INPUT1": (1, 16)}, {"outputs": ["OUTPUT9"]}, ["unexpected inference output 'OUTPUT9'", "'OUTPUT0' INT32"]),
        ({"INPUT0": (1, 16), "INPUT1": (1, 16)}, {"outputs": ["OUTPUT0", "OUTPUT0"]}, ["output 'OUTPUT0' is asked for more than once"]),
        ({"INPUT0": (1, 16), "INPUT1": (1, 16)}, {"priority": 2}, ["request priority is 2", "priority levels 1 to 1"]),
    ],
)
def test_a_wrong_request_is_told_what_was_expected(client, arrays, more, texts):
    error = client.failure("sum_difference", {name: np.zeros(shape, np.int32) for name, shape in arrays.items()}, **more)
    assert error.status == client.status(400, "INVALID_ARGUMENT")
    for text in texts:
        assert text in error.text


def test_a_wrong_datatype_is_told_what_was_expected(client):
    arrays, _ = rows(1)
    arrays["INPUT1"] = arrays["INPUT1"].astype(np.float32)
    error = client.failure("sum_difference", arrays)
    assert error.status == client.status(400, "INVALID_ARGUMENT")
    assert "input 'INPUT1' data-type is 'FP32', but model 'sum_difference' expects 'INT32'" in error.text


def test_fixed_shapes_of_unbatched_models_are_checked(client):
    error = client.failure("transpose", {"x": np.zeros((3, 2), np.float32)})
    assert "Expected [2, 3], got [3, 2]" in error.text


def test_shared_memory_and_classification_are_refused_not_ignored(client):
    arrays, _ = rows(1)
    inputs = [client.input(name, array) for name, array in arrays.items()]
    inputs[0].set_shared_memory("region", 64)
    with pytest.raises(InferenceServerException, match="'shared_memory_region' is not supported"):
        client.infer("sum_difference", inputs)
    inputs = [client.input(name, array) for name, array in arrays.items()]
    outputs = [client.messages.InferRequestedOutput("OUTPUT0", class_count=2)]
    with pytest.raises(InferenceServerException, match="'classification' is not supported"):
        client.infer("sum_difference", inputs, outputs=outputs)


def test_priority_in_range_is_taken(client):
    array = np.ones((1, 3), np.float32)
    for priority in (0, 1, 2, 3):
        client.ask("queued", {"x": array}, priority=priority)
    error = client.failure("queued", {"x": array}, priority=4)
    assert "request priority is 4" in error.text and "priority levels 1 to 3; 1 goes first" in error.text


def test_counts_rise_by_what_was_answered(client, server):
    arrays, _ = rows(4)
    before = server.statistics("sum_difference")
    for _ in range(3):
        client.ask("sum_difference", arrays)
    client.failure("sum_difference", {"INPUT0": arrays["INPUT0"]})
    after = client.json("get_inference_statistics", "sum_difference")["model_stats"][0]
    rise = lambda *path: int(dig(after, path)) - int(dig(before, path))
    assert rise("inference_count") == 12
    assert rise("execution_count") == 3
    assert rise("inference_stats", "success", "count") == 3
    for part in ("success", "queue", "compute_infer"):
        assert rise("inference_stats", part, "ns") > 0, part
    of_four = lambda stats: [batch for batch in stats["batch_stats"] if int(batch["batch_size"]) == 4]
    assert int(of_four(after)[0]["compute_infer"]["count"]) >= 3
    everything = client.json("get_inference_statistics")["model_stats"]
    assert {"plain", "times", "digits-s"} <= {model["name"] for model in everything}


def dig(tree, path):
    """A value of nested JSON; what gRPC's JSON leaves out is 0."""
    for key in path:
        tree = tree.get(key, {})
    return tree or 0


def test_a_stream_answers_each_request_and_survives_an_error(server):
    import queue
    import tritonclient.grpc as grpc_client

    answers = queue.Queue()
    client = grpc_client.InferenceServerClient(server.grpc)
    client.start_stream(lambda result, error: answers.put((result, error)))
    ask = lambda model, value, ident: client.async_stream_infer(
        model, [connect_input(grpc_client, value)], request_id=ident
    )
    for number in range(20):
        ask("nobody" if number == 7 else "times", number, str(number))
    seen = {}
    for number in range(20):
        result, error = answers.get(timeout=30)
        if error:
            assert "Request for unknown model: 'nobody'" in error.message()
            seen["7"] = None
        else:
            seen[result.get_response().id] = result.as_numpy("y")[0, 0]
    client.stop_stream()
    client.close()
    assert seen == {str(number): None if number == 7 else 3.0 * number for number in range(20)}


def connect_input(messages, value):
    array = np.full((1, 3), value, np.float32)
    return messages.InferInput("x", [1, 3], "FP32").set_data_from_numpy(array)


def test_an_asynchronous_stream_answers(server):
    import asyncio
    import tritonclient.grpc.aio as grpc_aio

    async def run():
        client = grpc_aio.InferenceServerClient(server.grpc)

        async def requests():
            for number in range(5):
                yield {"model_name": "times", "inputs": [connect_input(grpc_aio, number)], "request_id": str(number)}

        found = [(result.get_response().id, result.as_numpy("y")[0, 0]) async for result, error in client.stream_infer(requests())]
        await client.close()
        return found

    assert asyncio.run(run()) == [(str(number), 3.0 * number) for number in range(5)]


def test_config_json_over_http_has_plain_numbers(server):
    _, _, text = server.ask("GET", "/v2/models/sum_difference/config")
    assert json.loads(text)["max_batch_size"] == 8
