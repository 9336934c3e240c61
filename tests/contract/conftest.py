import pytest

from sandbox_process import Sandbox


@pytest.fixture
def sandbox():
    with Sandbox("--retry-scale", "0.01") as running:
        yield running
