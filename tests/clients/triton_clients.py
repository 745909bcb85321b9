"""tritonclient's four clients behind one face, so that each test runs with all of them."""

import asyncio
from types import SimpleNamespace

import numpy as np
import tritonclient.grpc as grpc_client
import tritonclient.grpc.aio as grpc_aio
import tritonclient.http as http_client
import tritonclient.http.aio as http_aio
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

__all__ = ["CLIENTS", "InferenceServerException", "connect"]

CLIENTS = ["http", "grpc", "http.aio", "grpc.aio"]


class Client:
    """Calls of the client it holds, awaited where that is asynchronous."""

    def __init__(self, kind, server):
        self.kind = kind
        self.is_http = kind.startswith("http")
        self.address = server.http if self.is_http else server.grpc
        self.messages = http_client if self.is_http else grpc_client
        self.loop = asyncio.new_event_loop() if kind.endswith("aio") else None
        module = {"http": http_client, "grpc": grpc_client, "http.aio": http_aio, "grpc.aio": grpc_aio}[kind]

        async def made():
            return module.InferenceServerClient(self.address)

        # An asynchronous client belongs to the loop it is made in.
        self.client = self.loop.run_until_complete(made()) if self.loop else module.InferenceServerClient(self.address)

    def __getattr__(self, name):
        def call(*args, **kwargs):
            answer = getattr(self.client, name)(*args, **kwargs)
            return self.loop.run_until_complete(answer) if self.loop else answer

        return call

    def close(self):
        self.__getattr__("close")()
        if self.loop:
            self.loop.close()

    def json(self, name, *args):
        """A call whose answer is JSON over either protocol, names as in the .proto file."""
        return getattr(self, name)(*args, **({} if self.is_http else {"as_json": True}))

    def input(self, name, array, datatype=None, binary=True):
        datatype = datatype or np_to_triton_dtype(array.dtype)
        tensor = self.messages.InferInput(name, list(array.shape), datatype)
        if self.is_http:
            return tensor.set_data_from_numpy(array, binary_data=binary)
        return tensor.set_data_from_numpy(array)

    def output(self, name, binary=True):
        if self.is_http:
            return self.messages.InferRequestedOutput(name, binary_data=binary)
        return self.messages.InferRequestedOutput(name)

    def ask(self, model, arrays, *, datatypes=None, binary=True, outputs=None, binary_out=True, **more):
        """Infers: `arrays` by input name; `outputs`: those asked for, in order, else all."""
        inputs = [self.input(name, array, (datatypes or {}).get(name), binary) for name, array in arrays.items()]
        if outputs is not None:
            more["outputs"] = [self.output(name, binary_out) for name in outputs]
        return self.infer(model, inputs, **more)

    def failure(self, model, arrays, **more):
        """Status and text of a request that must fail."""
        try:
            self.ask(model, arrays, **more)
        except InferenceServerException as error:
            return SimpleNamespace(status=error.status(), text=error.message())
        raise AssertionError("the request was answered")

    def status(self, http, grpc):
        """The status that the error of that kind has with this client."""
        return str(http) if self.is_http else f"StatusCode.{grpc}"


def connect(kind, server):
    return Client(kind, server)


def rows(count, seed=0):
    """Inputs of the models of two inputs, and what they must answer."""
    random = np.random.default_rng(seed)
    one, other = (random.integers(-1000, 1000, (count, 16), dtype=np.int32) for _ in range(2))
    return {"INPUT0": one, "INPUT1": other}, {"OUTPUT0": one + other, "OUTPUT1": one - other}
