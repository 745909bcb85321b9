"""KServe's own clients, over REST and gRPC."""

import asyncio

import numpy as np
import pytest
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest
from kserve.inference_client import RESTConfig


@pytest.fixture
def array():
    return np.arange(6, dtype=np.float32).reshape(2, 3)


def request(array, binary=None):
    one = InferInput("x", list(array.shape), "FP32")
    if binary is None:
        one.set_data_from_numpy(array)
    else:
        one.set_data_from_numpy(array, binary_data=binary)
    return InferRequest("times", [one], request_id="7")


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "JSON"])
def test_rest_is_live_ready_and_infers(server, array, binary):
    async def run():
        base = f"http://{server.http}"
        async with InferenceRESTClient(RESTConfig(protocol="v2")) as client:
            assert await client.is_server_live(base)
            assert await client.is_server_ready(base)
            assert await client.is_model_ready(base, "times")
            assert not await client.is_model_ready(base, "nobody")
            return await client.infer(base, request(array, binary), model_name="times")

    answer = asyncio.run(run())
    assert answer.id == "7" and answer.model_name == "times"
    np.testing.assert_array_equal(answer.outputs[0].as_numpy(), 3 * array)


def test_grpc_is_live_ready_and_infers(server, array):
    async def run():
        async with InferenceGRPCClient(server.grpc) as client:
            assert await client.is_server_live()
            assert await client.is_server_ready()
            assert await client.is_model_ready("times")
            assert not await client.is_model_ready("nobody")
            return await client.infer(request(array))

    answer = asyncio.run(run())
    assert answer.id == "7"
    np.testing.assert_array_equal(answer.outputs[0].as_numpy(), 3 * array)
