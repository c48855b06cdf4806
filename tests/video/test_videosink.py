"""A video file: complete or absent, in the container asked for, with everything of the input that it can hold."""

from contextlib import suppress
from fractions import Fraction

import av
import numpy as np
import pytest
from films import corners, film, moving, stamps

from tmaseg.errors import ConfigError, OutputError
from tmaseg.video.encoder import WriteOptions
from tmaseg.video.sink import VideoSink
from tmaseg.video.source import Frame, ReadOptions, StreamInfo
from tmaseg.video.video_source import VideoSource

UNIT = Fraction(1, 25)
INFO = StreamInfo("drawn", 64, 48, Fraction(25), UNIT)
FAST = WriteOptions(preset="ultrafast")


def frames(count=5, width=64, height=48):
    return [Frame(rgb, index, UNIT, index) for index, rgb in enumerate(moving(count, width, height))]


def write(path, options=FAST, info=INFO, pictures=None):
    with VideoSink(path, info, options) as sink:
        for frame in pictures or frames():
            sink.write(frame)
    return sink


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("suffix", "container", "codec"),
    [
        *((".mp4", "mov,mp4", "h264"), (".mov", "mov,mp4", "h264")),
        *((".mkv", "matroska", "h264"), (".webm", "matroska", "vp9"), (".MP4", "mov,mp4", "h264")),
    ],
)
def test_the_suffix_chooses_the_container(tmp_path, suffix, container, codec):
    sink = write(tmp_path / f"a{suffix}", WriteOptions())
    with av.open(str(sink.path)) as made:
        assert made.format.name.startswith(container)
        assert made.streams.video[0].codec_context.name == codec
        assert made.streams.video[0].codec_context.pix_fmt == "yuv420p"
    assert names(tmp_path) == [f"a{suffix}"]
    assert len(stamps(sink.path)) == 5


def test_an_mp4_can_be_played_while_it_loads(tmp_path):
    content = write(tmp_path / "a.mp4").path.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")


def test_a_failure_leaves_nothing(tmp_path):
    with suppress(RuntimeError), VideoSink(tmp_path / "a.mp4", INFO, FAST) as sink:
        for frame in frames():
            sink.write(frame)
        assert len(names(tmp_path)) == 1  # the temporary file, in the same folder
        assert names(tmp_path) != ["a.mp4"]
        raise RuntimeError
    assert names(tmp_path) == []


def test_a_failure_leaves_the_old_output(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"old")
    with suppress(RuntimeError), VideoSink(tmp_path / "a.mp4", INFO, WriteOptions(overwrite=True)) as sink:
        sink.write(frames()[0])
        raise RuntimeError
    assert names(tmp_path) == ["a.mp4"]
    assert (tmp_path / "a.mp4").read_bytes() == b"old"


def test_a_full_disk_is_one_clear_error(tmp_path, monkeypatch):
    sink = VideoSink(tmp_path / "a.mp4", INFO, FAST)
    sink.write(frames()[0])
    monkeypatch.setattr(sink, "_stream", FullDisk())
    with pytest.raises(OutputError, match=r"a\.mp4 cannot be written: No space left on device"), sink:
        sink.write(frames()[1])
    assert names(tmp_path) == []


class FullDisk:
    def encode(self, frame):  # noqa: ARG002
        raise av.error.OSError(28, "No space left on device")


def test_no_frames(tmp_path):
    with pytest.raises(OutputError, match="no frame"), VideoSink(tmp_path / "a.mp4", INFO, FAST):
        pass
    assert names(tmp_path) == []


def test_an_existing_output_is_refused_unless_told(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"old")
    with pytest.raises(OutputError, match="--overwrite"):
        VideoSink(path, INFO)
    assert path.read_bytes() == b"old"
    write(path, WriteOptions(preset="ultrafast", overwrite=True))
    assert len(stamps(path)) == 5


def test_the_input_is_never_the_output(tmp_path, monkeypatch):
    path = film(tmp_path / "a.mp4", moving(3))
    (tmp_path / "link.mp4").symlink_to(path)
    monkeypatch.chdir(tmp_path)
    with VideoSource(path) as source:
        for target in (path, "a.mp4", tmp_path / "link.mp4", tmp_path / ".." / tmp_path.name / "a.mp4"):
            with pytest.raises(OutputError, match="is the input itself"):
                VideoSink(target, source.info, WriteOptions(overwrite=True))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("a.wmv", {}, r"ends in \.wmv; end it in one of \.mp4, \.mov, \.mkv, \.webm"),
        ("a", {}, "has no suffix"),
        ("none/a.mp4", {}, "does not exist"),
        ("file/a.mp4", {}, "is a file, not a folder"),
        ("folder.mp4", {}, "is a folder"),
        ("a.mp4", {"lossless": True}, r"name the output a\.mkv"),
        ("a.mp4", {"encoder": "h264_vaapi"}, "is not an encoder known here; usable here: .*libx264"),
        ("a.mp4", {"encoder": "aac"}, "--encoder aac"),
        ("a.mp4", {"encoder": "h264_v4l2m2m"}, "does not work on this machine; usable here: .*libx264"),
        ("a.mp4", {"preset": "quick"}, "refuses its options .*preset=quick"),
        ("a.mp4", {"encoder": "mpeg4", "crf": 20}, "mpeg4 has no option crf"),
        ("a.mp4", {"encoder": "mpeg4", "preset": "fast"}, "has no option preset"),
    ],
)
def test_what_cannot_work_is_refused_before_the_first_frame(tmp_path, name, options, message):
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(OutputError, match=message) as caught:
        VideoSink(tmp_path / name, INFO, WriteOptions(**options))
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == ["file", "folder.mp4"]


def test_a_codec_that_the_container_cannot_hold(tmp_path):
    with pytest.raises(OutputError, match=r"\.webm cannot hold what libx264 writes"):
        write(tmp_path / "a.webm", WriteOptions(encoder="libx264"))
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    "options", [{"lossless": True, "encoder": "libx264"}, {"lossless": True, "crf": 1}, {"crf": 99}]
)
def test_options_that_contradict_each_other(options):
    with pytest.raises(ConfigError, match="--"):
        WriteOptions(**options)


@pytest.mark.parametrize("encoder", ["libx264", "libx265", "mpeg4", "libx264rgb", "ffv1", "libvpx-vp9"])
def test_encoders(tmp_path, encoder):
    sink = write(tmp_path / "a.mkv", WriteOptions(encoder=encoder))
    assert sink.encoder == encoder
    with VideoSource(sink.path) as source:
        read = [frame.rgb for frame in source]
    assert max(np.abs(rgb.astype(int) - frame.rgb).mean() for rgb, frame in zip(read, frames(), strict=True)) < 8


def test_quality_follows_crf(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    pictures = [Frame(noise, index, UNIT, index) for index in range(5)]
    sinks = [write(tmp_path / f"{crf}.mp4", WriteOptions(crf=crf), pictures=pictures) for crf in (5, 40)]
    assert sinks[0].path.stat().st_size > 2 * sinks[1].path.stat().st_size


@pytest.mark.parametrize(("size", "padded"), [((63, 47), (64, 48)), ((64, 47), (64, 48)), ((63, 48), (64, 48))])
def test_an_odd_size_repeats_its_last_column_or_row(tmp_path, size, padded):
    picture = corners(*size)
    sink = write(tmp_path / "a.mp4", WriteOptions(crf=1), pictures=[Frame(picture, 0, UNIT, 0)])
    assert f"{size[0]}x{size[1]} became {padded[0]}x{padded[1]}" in sink.warnings[0]
    with av.open(str(sink.path)) as made:
        rgb = next(made.decode(video=0)).to_ndarray(format="rgb24")
    assert rgb.shape[1::-1] == padded
    expected = np.pad(picture, ((0, padded[1] - size[1]), (0, padded[0] - size[0]), (0, 0)), mode="edge")
    for spot in ((3, 3), (-1, -1), (-1, 3), (3, -1)):
        np.testing.assert_allclose(rgb[spot], expected[spot], atol=6)


@pytest.mark.parametrize(("suffix", "options"), [(".webm", {}), (".mkv", {"lossless": True})])
def test_an_odd_size_stays_where_the_encoder_can(tmp_path, suffix, options):
    sink = write(tmp_path / f"a{suffix}", WriteOptions(**options), pictures=frames(2, 63, 47))
    assert sink.warnings == ()
    with av.open(str(sink.path)) as made:
        assert (made.streams.video[0].width, made.streams.video[0].height) == (63, 47)


def test_a_frame_of_another_size_is_refused(tmp_path):
    with pytest.raises(OutputError, match="a frame of 32x24 does not fit"):
        write(tmp_path / "a.mp4", pictures=[*frames(2), *frames(1, 32, 24)])
    assert names(tmp_path) == []


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_pixel_shape_is_kept(tmp_path, suffix):
    path = film(tmp_path / "in.mp4", moving(3), aspect=Fraction(16, 15))
    with VideoSource(path) as source:
        write(tmp_path / f"out{suffix}", info=source.info, pictures=list(source))
    with av.open(str(tmp_path / f"out{suffix}")) as made:
        assert made.streams.video[0].sample_aspect_ratio == Fraction(16, 15)


def test_pixel_shape_that_cannot_be_kept_is_said(tmp_path):
    path = film(tmp_path / "in.mp4", moving(3), aspect=Fraction(16, 15))
    with VideoSource(path) as source:
        sink = write(tmp_path / "out.webm", WriteOptions(), info=source.info, pictures=list(source))
    assert "16/15" in sink.warnings[0]


CHAPTERS = [
    {"id": 1, "start": 0, "end": 400, "time_base": Fraction(1, 1000), "metadata": {"title": "one"}},
    {"id": 2, "start": 400, "end": 1000, "time_base": Fraction(1, 1000), "metadata": {"title": "two"}},
]


def chapters_of(path):
    with av.open(str(path)) as made:
        return [
            (
                chapter["metadata"]["title"],
                chapter["start"] * chapter["time_base"],
                chapter["end"] * chapter["time_base"],
            )
            for chapter in made.chapters()
        ]


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_metadata_and_chapters(tmp_path, suffix):
    metadata = {
        "title": "A drive",
        "comment": "ü",
        "location": "+52.5000+013.4000/",
        "creation_time": "2024-05-06T07:08:09Z",
    }
    path = film(tmp_path / "in.mkv", moving(25), metadata=metadata, chapters=CHAPTERS)
    with VideoSource(path) as source:
        write(tmp_path / f"out{suffix}", info=source.info, pictures=list(source))
    with av.open(str(tmp_path / f"out{suffix}")) as made:
        kept = {key.lower(): text for key, text in made.metadata.items()}
    assert kept["title"] == "A drive"
    assert kept["comment"] == "ü"
    assert kept["creation_time"].startswith("2024-05-06T07:08:09")
    assert "52.5" in kept["location"]
    cut = Fraction(2, 5)
    assert chapters_of(tmp_path / f"out{suffix}") == [("one", 0, cut), ("two", cut, 1)]


def test_metadata_of_its_own_making_is_kept_in_an_mp4(tmp_path):
    path = film(tmp_path / "in.mkv", moving(2), metadata={"camera_serial": "X-1"})
    with VideoSource(path) as source:
        write(tmp_path / "out.mp4", info=source.info, pictures=list(source))
    with av.open(str(tmp_path / "out.mp4")) as made:
        assert made.metadata["CAMERA_SERIAL"] == "X-1"


def test_chapters_are_cut_with_the_video(tmp_path):
    path = film(tmp_path / "in.mkv", moving(25), chapters=CHAPTERS)
    with VideoSource(path, ReadOptions(start=0.2, end=0.8)) as source:
        write(tmp_path / "out.mkv", info=source.info, pictures=list(source))
    assert chapters_of(tmp_path / "out.mkv") == [("one", 0, Fraction(1, 5)), ("two", Fraction(1, 5), Fraction(3, 5))]
