"""One server for each runtime, shared by all tests of a session."""

import pytest

import model_repository
from wattle_server import Wattle


@pytest.fixture(scope="session", params=["rten", "onnxruntime"])
def runtime(request):
    return request.param


@pytest.fixture(scope="session")
def folder(runtime, tmp_path_factory):
    folder = tmp_path_factory.mktemp(runtime) / "models"
    model_repository.make(folder, runtime)
    return folder


@pytest.fixture(scope="session")
def server(folder, runtime):
    server = Wattle(folder, runtime, folder.parent)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def small_server(folder, runtime):
    """One that takes bodies of no more than 4096 bytes."""
    server = Wattle(folder, runtime, folder.parent, "--max-request-bytes", "4096")
    yield server
    server.stop()
