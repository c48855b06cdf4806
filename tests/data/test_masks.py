"""Label files of every kind: read rightly, or refused with the line that mends them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from tmaseg.data.masks import MaskReader
from tmaseg.errors import DataError
from tmaseg.labels import CAMVID, CAMVID32, CITYSCAPES

SEGNET = MaskReader.of_ids(CAMVID, {index: index for index in range(11)}, void=(11, 255))
COLOURS = MaskReader.of_colours(CITYSCAPES, {colour: index for index, colour in enumerate(CITYSCAPES.colours)})


def test_palette_pictures_give_their_indices(mask):
    """cv2 and others would give the palette's colours."""
    path = mask("a.png", [0, 3, 10, 11], palette=True)
    with Image.open(path) as picture:
        assert picture.mode == "P"
    assert SEGNET.read(path)[0, :4].tolist() == [0, 3, 10, 11]
    grey_as_rgb = mask("b.png", [[4, 4, 4], [11, 11, 11]])
    assert SEGNET.read(grey_as_rgb)[0, :2].tolist() == [4, 11]


def test_cityscapes_ids_become_train_ids(mask):
    reader = MaskReader.of_label_set(CITYSCAPES)
    path = mask("ids.png", [7, 33, 26, 255])
    assert reader.read(path)[0, :4].tolist() == [0, 18, 13, 255]
    assert reader.read_raw(path)[0, :4].tolist() == [7, 33, 26, 255]


def test_one_channel_of_panoptic_maps(mask):
    reader = MaskReader.of_ids(CITYSCAPES, {index: index for index in range(19)}, void=(255,), channel=0)
    path = mask("p.png", [[13, 2, 200], [0, 0, 1], [255, 9, 9]])
    assert reader.read(path)[0, :3].tolist() == [13, 0, 255]


@given(hnp.arrays(np.intp, (3, 5), elements=st.integers(0, 31)))
def test_colours_are_looked_up_one_by_one(tmp_path_factory, classes):
    reader = MaskReader.of_colours(CAMVID32, {colour: index for index, colour in enumerate(CAMVID32.colours)})
    path = tmp_path_factory.mktemp("colours") / "c.png"
    Image.fromarray(np.array(CAMVID32.colours, np.uint8)[classes]).save(path)
    np.testing.assert_array_equal(reader.read(path), classes)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([[128, 64, 128], [0, 0, 142]], r"a colour picture \(3 channels\), but expected class ids 0-10, void 11, 255"),
        ([0, 255], None),
        ([0, 12, 13, 40], r"ids 12-13, 40 are none of the expected .*id_map"),
        ([0, 700], "16-bit values up to 700"),
    ],
)
def test_faults_of_id_masks(mask, values, message):
    path = mask("m.png", values)
    if message is None:
        assert SEGNET.read(path).max() == 11
        return
    with pytest.raises(DataError, match=message) as caught:
        SEGNET.read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_black_and_white_masks(mask):
    strict = MaskReader.of_ids(CITYSCAPES, {index: index for index in range(19)})
    with pytest.raises(DataError, match=r"black-and-white mask \(only 0 and 255\).*id_map: \{255: 1\}"):
        strict.read(mask("m.png", [0, 255]))


def test_faults_of_colour_masks(mask, tmp_path):
    with pytest.raises(DataError, match="one channel, but expected an RGB picture"):
        COLOURS.read(mask("ids.png", [0, 1]))
    with pytest.raises(DataError, match="50% of the pixels have none of the class colours"):
        COLOURS.read(mask("jpeg.png", [[128, 64, 128], [127, 65, 128]]))
    broken = tmp_path / "broken.png"
    broken.write_bytes(mask("good.png", [0, 1]).read_bytes()[:40])
    with pytest.raises(DataError, match="cannot be read"):
        COLOURS.read(broken)
    with pytest.raises(DataError, match="no such mask"):
        COLOURS.read(tmp_path / "none.png")
