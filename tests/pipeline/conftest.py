"""Weights of the tiny network, for the pipeline."""

import pytest
from tiny import tiny_checkpoint

from tmaseg.model.checkpoint import save_checkpoint


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_checkpoint(path, tiny_checkpoint())
    return path
