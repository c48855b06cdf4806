"""Devices that decode and encode: taken where they open, the CPU otherwise, and the source says which."""

from fractions import Fraction

import pytest
from av.codec.hwaccel import HWAccel
from films import film, moving

from tmaseg.video import decoder, encoder
from tmaseg.video.encoder import WriteOptions, choose_encoder
from tmaseg.video.source import ReadOptions, open_source


def test_a_device_that_does_not_open_leaves_decoding_to_the_cpu(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(decoder, "hwdevices_available", lambda: ["cuda", "vaapi"])
    monkeypatch.setattr(decoder, "HWAccel", lambda kind, **options: asked.append(kind) or HWAccel(kind, **options))
    path = film(tmp_path / "film.mp4", moving(5))
    with open_source(path) as plain, open_source(path, ReadOptions(hardware=True)) as source:
        assert source.info.device is None
        assert source.warnings == ("--hardware: no device is used for decoding h264; the CPU does it",)
        assert not plain.warnings
        for one, other in zip(plain, source, strict=True):
            assert (one.rgb == other.rgb).all()
    assert asked[0] == "cuda"


@pytest.mark.parametrize(("works", "wanted"), [(("h264_nvenc", "libx264"), "h264_nvenc"), (("libx264",), "libx264")])
def test_an_encoding_device_is_taken_where_it_works(monkeypatch, works, wanted):
    monkeypatch.setattr(encoder, "_works", lambda name, _: name in works)
    monkeypatch.setattr(encoder, "_check_options", lambda *_: None)
    chosen = choose_encoder("mp4", WriteOptions(hardware=True), Fraction(1, 25))
    assert (chosen.name, chosen.on_device) == (wanted, wanted == "h264_nvenc")
    assert choose_encoder("mp4", WriteOptions(), Fraction(1, 25)).name == "libx264"
