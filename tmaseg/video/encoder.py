"""Video encoders and output containers: which to use, with which options, and what works on this machine."""

import os
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
from av import Codec, CodecContext, VideoCodecContext, VideoFrame, VideoStream
from av.container import OutputContainer

from tmaseg.errors import ConfigError, OutputError
from tmaseg.video.source import StreamInfo

_HARDWARE = ("h264_nvenc", "h264_videotoolbox")
_PREFERRED = {
    **dict.fromkeys(("flv", "mpegts", "rtsp", "rtp_mpegts"), ("libx264", "h264_nvenc", "mpeg4")),
    "mp4": ("libx264", "h264_nvenc", "libvpx-vp9", "mpeg4"),
    "mov": ("libx264", "h264_nvenc", "mpeg4"),
    "matroska": ("libx264", "h264_nvenc", "libvpx-vp9", "mpeg4"),
    "webm": ("libvpx-vp9", "libsvtav1", "libvpx"),
}
_KNOWN = ("libx264", "libx264rgb", "libx265", "h264_nvenc", "hevc_nvenc", "libsvtav1", "libvpx-vp9", "ffv1", "mpeg4")
_DEFAULTS: dict[str, dict[str, str]] = {
    # Measured on the overlay of a motorway at 960x540, crf 18: x264's own "medium" takes 36 ms of one core a frame,
    # "faster" 22, "veryfast" 13 in a file 6 % smaller at 47.3 dB (luma, medium 48.0), "superfast" 7 in one 80 % larger.
    # The number of threads is x264's own: 1, 2, 3 and 6 frame threads and slices all take 35 to 36 ms of work.
    "libx264": {"crf": "18", "preset": "veryfast"},
    "libx264rgb": {"crf": "18"},
    "libx265": {"crf": "22", "x265-params": "log-level=none"},
    "libvpx-vp9": {"crf": "30", "b": "0", "row-mt": "1", "deadline": "good", "cpu-used": "4"},
    "h264_nvenc": {"rc": "vbr", "cq": "19", "preset": "p5"},
    "ffv1": {"level": "3", "g": "1", "slicecrc": "1"},
    # Quality 3 of 31, in FFmpeg's unit of 118 a step.
    "mpeg4": {"flags": "+qscale", "global_quality": "354"},
}
# Endings of the names of hardware encoders.
_ON_DEVICES = ("_nvenc", "_videotoolbox", "_qsv", "_vaapi", "_amf", "_v4l2m2m")
_FORMATS = ("yuv420p", "nv12", "yuv422p", "yuv444p", "bgr0", "rgb24", "gbrp")  # in order of preference
_PROBE_PX = 256  # hardware encoders refuse smaller frames


@dataclass(frozen=True)
class WriteOptions:
    """How a video file is written. Names follow the command line's flags."""

    encoder: str | None = None  # FFmpeg's name; None: libx264, or libvpx-vp9 for .webm, or the first that works
    crf: float | None = None  # constant quality, lower is better; None: 18 for H.264, 30 for VP9
    preset: str | None = None  # x264: ultrafast ... veryslow; None: veryfast for x264, else the encoder's own
    lossless: bool = False  # every RGB value exactly as painted: FFV1, .mkv only
    audio: bool = True  # copy the input's sound
    hardware: bool = False  # encode on a device if one works here and the container takes what it writes
    overwrite: bool = False  # replace an existing output
    timeout: float = 10.0  # seconds a URL may stay silent when sound is fetched from it

    def __post_init__(self) -> None:
        if self.lossless and self.encoder not in (None, "ffv1"):
            raise ConfigError(f"--lossless writes FFV1 and --encoder asks for {self.encoder}; leave one of them out")
        if self.lossless and (self.crf is not None or self.preset is not None):
            raise ConfigError("--lossless has no --crf and no --preset; leave them out")
        if self.crf is not None and not 0 <= self.crf <= 63:
            raise ConfigError(f"--crf is {self.crf:g}; it must be from 0 (best) to 51 (H.264) or 63 (VP9, AV1)")


@dataclass(frozen=True)
class Encoder:
    """A video encoder that works here, with these options."""

    name: str
    pixel_format: str
    options: dict[str, str]

    @property
    def on_device(self) -> bool:
        """Whether a device encodes rather than the CPU."""
        return self.name.endswith(_ON_DEVICES)

    def padded(self, width: int, height: int) -> tuple[int, int]:
        """The encoded (width, height) of frames of this size: even where the encoder needs it."""
        if self.name in ("libvpx-vp9", "ffv1"):
            return width, height
        block = av.VideoFormat(self.pixel_format, 4, 4)
        return width + -width % (4 // block.chroma_width()), height + -height % (4 // block.chroma_height())

    def keeps_aspect(self, kind: str) -> bool:
        """Whether the container holds the sample aspect: PyAV cannot set Matroska's own field, some codecs have one."""
        return kind in ("mp4", "mov") or any(codec in self.name for codec in ("264", "265", "hevc", "mpeg4"))

    def add_to(
        self, container: OutputContainer, size: tuple[int, int], info: StreamInfo, time_base: Fraction
    ) -> VideoStream:
        """A new stream of `size` (width, height). Raises OutputError when the container or the encoder refuses it."""
        try:
            stream = container.add_stream(self.name, rate=info.rate, options=dict(self.options))
        except ValueError as error:
            suffix = suffix_of(container.format.name)
            raise OutputError(
                f"{suffix} cannot hold what {self.name} writes; give another suffix or --encoder"
            ) from error
        assert isinstance(stream, VideoStream)
        (stream.width, stream.height), stream.pix_fmt = size, self.pixel_format
        context = stream.codec_context
        stream.time_base = context.time_base = time_base
        context.sample_aspect_ratio = info.sample_aspect
        if av.VideoFormat(self.pixel_format).is_rgb:
            context.color_range = 2
        else:
            context.colorspace = context.color_range = context.color_primaries = context.color_trc = 1
        if "265" in self.name or self.name.startswith("hevc"):
            context.codec_tag = "hvc1"  # the tag that Apple's players need
        try:
            context.open()
        except (av.FFmpegError, OSError) as error:
            raise OutputError(
                f"{self.name} cannot encode frames of {size[0]}x{size[1]}; choose another --encoder"
            ) from error
        return stream


def choose_encoder(kind: str, options: WriteOptions, time_base: Fraction) -> Encoder:
    """The encoder that `options` name, or the first usual one that works, for a container `kind` (FFmpeg's name).

    Raises OutputError when it is unknown, does not work on this machine, or refuses its options.
    """
    name = "ffv1" if options.lossless else options.encoder
    if name is None:
        devices = _HARDWARE if options.hardware and "libx264" in _PREFERRED[kind] else ()
        name = next((each for each in (*devices, *_PREFERRED[kind]) if _works(each, time_base)), None)
        if name is None:
            raise OutputError(f"none of {', '.join(_PREFERRED[kind])} works here; {_usable(time_base)}")
    elif not _works(name, time_base):
        state = "does not work on this machine" if name in av.codecs_available else "is not an encoder known here"
        raise OutputError(f"--encoder {name} {state}; {_usable(time_base)}")
    encoder = Encoder(name, "bgr0" if options.lossless else _pixel_format(name), _options(name, options))
    _check_options(encoder, time_base)
    return encoder


def _options(name: str, options: WriteOptions) -> dict[str, str]:
    chosen = dict(_DEFAULTS.get(name, {}))
    if options.crf is not None:
        chosen["cq" if name.endswith("_nvenc") else "crf"] = f"{options.crf:g}"
    if options.preset is not None:
        chosen["preset"] = options.preset
    return chosen


def _pixel_format(name: str) -> str:
    formats = [kind.name for kind in Codec(name, "w").video_formats or []]
    return next((kind for kind in _FORMATS if kind in formats), formats[0] if formats else "yuv420p")


@cache
def _works(name: str, time_base: Fraction) -> bool:
    """Whether it encodes a small frame: an encoder that is listed may lack its library or device."""
    os.environ.setdefault("SVT_LOG", "1")  # errors only: SVT-AV1 has no option for it
    try:
        _encode_one(Encoder(name, _pixel_format(name), _DEFAULTS.get(name, {})), time_base)
    except (av.FFmpegError, OSError, ValueError, AttributeError):
        return False
    return True


def _check_options(encoder: Encoder, time_base: Fraction) -> None:
    try:
        unused = _encode_one(encoder, time_base)
    except (av.FFmpegError, OSError, ValueError) as error:
        given = " ".join(f"{key}={value}" for key, value in encoder.options.items())
        raise OutputError(
            f"the encoder {encoder.name} refuses its options ({given}); check --crf and --preset"
        ) from error
    if unused:
        raise OutputError(f"the encoder {encoder.name} has no option {', '.join(sorted(unused))}; leave it out")


def _encode_one(encoder: Encoder, time_base: Fraction) -> set[str]:
    """Encodes a black frame; the names of options that the encoder did not take."""
    context = CodecContext.create(encoder.name, "w")
    if not isinstance(context, VideoCodecContext):
        raise ValueError(f"{encoder.name} encodes no video")
    frame = VideoFrame(_PROBE_PX, _PROBE_PX, encoder.pixel_format)
    for plane in frame.planes:
        plane.update(bytes(plane.buffer_size))
    frame.pts, frame.time_base = 0, time_base
    context.width, context.height, context.pix_fmt = frame.width, frame.height, encoder.pixel_format
    context.time_base, context.framerate = time_base, Fraction(25)
    context.options = dict(encoder.options)
    context.encode(frame)
    context.encode(None)
    return set(context.options)


def working_encoders(time_base: Fraction = Fraction(1, 25)) -> tuple[str, ...]:
    """The usual encoders that work on this machine."""
    return tuple(name for name in _KNOWN if _works(name, time_base))


def hardware_encoders(time_base: Fraction = Fraction(1, 25)) -> tuple[str, ...]:
    """The hardware encoders that work on this machine."""
    return tuple(name for name in _HARDWARE if _works(name, time_base))


def _usable(time_base: Fraction) -> str:
    working = working_encoders(time_base)
    return f"usable here: {', '.join(working)}" if working else "no encoder works here; reinstall PyAV"


# Containers -----------------------------------------------------------------------------------------------------------

SUFFIXES = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
"""What a video file may end in, and FFmpeg's name of the format."""
_LARGEST_TIMESCALE = 2_000_000  # with a finer one, a pause of a few minutes does not fit into MP4's fields
_LONGEST_GAP_TICKS = 2**28  # MP4 sums the gaps of frames that are coded out of order in 31 bits
_CONTAINER_KEYS = frozenset({"major_brand", "minor_version", "compatible_brands", "encoder", "duration"})
_PLAIN_KEYS = frozenset(
    {
        *("album", "album_artist", "artist", "author", "comment", "composer", "copyright", "creation_time", "date"),
        *("description", "genre", "grouping", "keywords", "location", "lyrics", "synopsis", "title", "track"),
    }
)


def kind_of(path: Path, *, lossless: bool) -> str:
    """FFmpeg's name of the container that the suffix of `path` stands for. Raises OutputError for any other suffix."""
    kind = SUFFIXES.get(path.suffix.lower())
    if kind is None:
        came = f"ends in {path.suffix}" if path.suffix else "has no suffix"
        raise OutputError(f"the output {path} {came}; end it in one of {', '.join(SUFFIXES)}")
    if lossless and kind != "matroska":
        raise OutputError(f"--lossless writes FFV1, which {path.suffix} cannot hold; name the output {path.stem}.mkv")
    return kind


def suffix_of(kind: str) -> str:
    """The suffix of a container; FFmpeg's name of it where it has none."""
    return next((suffix for suffix, name in SUFFIXES.items() if name == kind), kind)


def time_base_of(kind: str, time_base: Fraction) -> Fraction:
    """The container's unit of time that holds stamps in `time_base` without rounding, or else the finest it has."""
    if kind in ("matroska", "webm"):
        return Fraction(1, 1000)  # they have no other
    return time_base if _timescale(time_base) <= _LARGEST_TIMESCALE else Fraction(1, 1_000_000)


def longest_gap(kind: str, time_base: Fraction) -> Fraction:
    """Longest time between two frames, in seconds."""
    return Fraction(_LONGEST_GAP_TICKS, _timescale(time_base)) if kind in ("mp4", "mov") else Fraction(10**9)


def muxer_options(kind: str, time_base: Fraction, metadata: dict[str, str]) -> dict[str, str]:
    """FFmpeg's options for writing a container of this kind."""
    # The video's time must not be moved to make room for the priming samples of an audio encoder.
    options = {"avoid_negative_ts": "disabled"}
    if kind in ("mp4", "mov"):
        # An edit list holds the start in units of the movie: any other unit than the video's would round it.
        options["movie_timescale"] = str(_timescale(time_base))
        # MP4 has names for the common keys; others need another table, which fewer players read.
        other = {key.lower() for key in metadata} - _PLAIN_KEYS
        options["movflags"] = "+faststart" + ("+use_metadata_tags" if other else "")
    return options


def content_metadata(metadata: dict[str, str]) -> dict[str, str]:
    """The metadata of the content, without those of the container itself."""
    return {
        key: text for key, text in metadata.items() if key.lower() not in _CONTAINER_KEYS and not key.startswith("_")
    }


def _timescale(time_base: Fraction) -> int:
    """Units a second of an MP4 track: the muxer doubles a coarse one until it is at least 10000."""
    scale = time_base.denominator
    while scale < 10_000:
        scale *= 2
    return scale
