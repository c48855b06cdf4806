"""Small videos for tests, written with PyAV itself so that nothing under test takes part in making them."""

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

PATCHES = np.array(
    [
        *([200, 40, 60], [30, 180, 50], [40, 60, 200], [230, 230, 230]),
        *([20, 20, 20], [220, 200, 40], [128, 128, 128], [0, 140, 160]),
    ],
    np.uint8,
)


def patches(width: int = 64, height: int = 48) -> np.ndarray:
    """(H, W, 3): two rows of four patches, one colour each."""
    rows, columns = np.arange(height) * 2 // height, np.arange(width) * 4 // width
    return PATCHES[rows[:, None] * 4 + columns[None]]


def patch_means(rgb: np.ndarray) -> np.ndarray:
    """(8, 3): the mean of the middle of each patch."""
    down, right = rgb.shape[0] / 2, rgb.shape[1] / 4
    spots = [(row, column) for row in range(2) for column in range(4)]
    means = []
    for row, column in spots:
        inner = rgb[int((row + 0.3) * down) : int((row + 0.7) * down), int((column + 0.3) * right) :]
        means.append(inner[:, : int(0.4 * right)].reshape(-1, 3).mean(0))
    return np.array(means)


def corners(width: int = 64, height: int = 48) -> np.ndarray:
    """(H, W, 3): red, green, blue and white quarters, so that every turn and flip shows."""
    rgb = np.empty((height, width, 3), np.uint8)
    rgb[: height // 2, : width // 2], rgb[: height // 2, width // 2 :] = (255, 0, 0), (0, 255, 0)
    rgb[height // 2 :, : width // 2], rgb[height // 2 :, width // 2 :] = (0, 0, 255), (255, 255, 255)
    return rgb


def moving(count: int, width: int = 64, height: int = 48) -> list[np.ndarray]:
    """Pictures that differ from each other."""
    return [np.roll(patches(width, height), 3 * index, axis=1) for index in range(count)]


def film(
    path: Path,
    pictures: Iterable[np.ndarray],
    *,
    pts: Sequence[int] | None = None,
    time_base: Fraction = Fraction(1, 25),
    codec: str = "libx264",
    kind: str | None = None,
    seconds_of_sound: float = 0,
    sound: Sequence[str] = (),
    **setup: object,
) -> Path:
    """Write a video.

    `setup` may have: matrix, tags, full_range, pix_fmt; rotation (degrees, hflip, vflip), aspect, rate; options of the
    encoder, container (its options), metadata, chapters; sound_rate, sound_layout, timecode, telemetry (True).
    """
    pictures = list(pictures)
    pts = list(range(len(pictures))) if pts is None else pts
    height, width = pictures[0].shape[:2]
    with av.open(str(path), "w", format=kind, container_options=setup.get("container", {})) as output:
        output.metadata.update(setup.get("metadata", {}))
        if "chapters" in setup:
            output.set_chapters(setup["chapters"])
        stream = output.add_stream(codec, rate=setup.get("rate", Fraction(25)), options=setup.get("options", {}))
        stream.width, stream.height = width, height
        stream.pix_fmt = setup.get("pix_fmt", "yuv420p")
        stream.codec_context.time_base = stream.time_base = time_base
        if "aspect" in setup:
            stream.codec_context.sample_aspect_ratio = setup["aspect"]
        matrix, tag = setup.get("matrix", "ITU601"), setup.get("tags")
        if tag is not None:
            stream.codec_context.colorspace = tag
        if "full_range" in setup:
            stream.codec_context.color_range = 2 if setup["full_range"] else 1
        if "rotation" in setup:
            stream.set_display_rotation(*setup["rotation"])
        rate, layout = setup.get("sound_rate", 48000), setup.get("sound_layout", "stereo")
        tracks = [output.add_stream(name, rate=rate, layout=layout) for name in sound]
        for track in tracks:
            track.bit_rate = 128_000 if layout == "stereo" else 500_000
        if "timecode" in setup:
            stream.metadata["timecode"] = setup["timecode"]
        if "telemetry" in setup:
            data = output.add_data_stream("bin_data")
            data.metadata["handler_name"] = "GoPro MET"
            output.start_encoding()
            packet = av.Packet(b"DEVC" + bytes(60))
            packet.stream, packet.pts, packet.dts, packet.time_base = data, 0, 0, Fraction(1, 1000)
            packet.duration = 1000
            output.mux(packet)
        for index, (rgb, stamp) in enumerate(zip(pictures, pts, strict=True)):
            frame = av.VideoFrame.from_ndarray(rgb).reformat(
                format=stream.pix_fmt,
                src_color_range="JPEG",
                dst_colorspace=matrix,
                dst_color_range="JPEG" if setup.get("full_range") else "MPEG",
            )
            frame.pts, frame.time_base = stamp, time_base
            output.mux(stream.encode(frame))
            if index < seconds_of_sound * 25:
                for track in tracks:
                    output.mux(track.encode(_beep(index)))
        output.mux(stream.encode(None))
        for track in tracks:
            output.mux(track.encode(None))
    return path


def remux(path: Path, target: Path, change: Callable[[av.Packet, int], bool | None]) -> Path:
    """Copy the packets of a video into another container, each first given to `change` with its number.

    Those for which it returns False are left out.
    """
    with av.open(str(path)) as source, av.open(str(target), "w") as output:
        streams = {stream.index: output.add_stream_from_template(stream) for stream in source.streams}
        counts = dict.fromkeys(streams, 0)
        for packet in source.demux():
            if packet.size:
                number, stream = counts[packet.stream.index], packet.stream.index
                counts[stream] += 1
                if change(packet, number) is False:
                    continue
                packet.stream = streams[stream]
                output.mux(packet)
    return target


def _beep(index: int) -> av.AudioFrame:
    """40 ms of a tone that is loud in the first 80 ms of each second and silent else."""
    time = (np.arange(1920) + 1920 * index) / 48000
    wave = (20000 * np.sin(2 * np.pi * 1000 * time) * (time % 1 < 0.08)).astype(np.int16)
    frame = av.AudioFrame.from_ndarray(np.repeat(wave, 2)[None], format="s16", layout="stereo")
    frame.sample_rate, frame.pts, frame.time_base = 48000, 1920 * index, Fraction(1, 48000)
    return frame


def onsets(path: Path, track: int = 0) -> list[float]:
    """Seconds at which the beeps of a sound track begin."""
    found: list[float] = []
    loud_before = False
    packed = av.AudioResampler(format="s16")  # PyAV 18 crashes on the planes of eight channels
    with av.open(str(path)) as source:
        for frame in source.decode(source.streams.audio[track]):
            samples = [part.to_ndarray().reshape(-1, frame.layout.nb_channels) for part in packed.resample(frame)]
            wave = np.abs(np.concatenate(samples)[:, 0].astype(float)) / 2**15
            for block in range(0, len(wave) - 63, 64):
                loud = wave[block : block + 64].max() > 0.2
                if loud and not loud_before:
                    found.append(frame.time + block / frame.sample_rate)
                loud_before = loud
    return found


def origin(path: Path) -> Fraction:
    """Where a file begins, in seconds, if its container starts at an arbitrary time; 0 if its zero has a meaning."""
    with av.open(str(path)) as source:
        own = {"mov", "matroska"} & set(source.format.name.split(","))
        return Fraction(0) if own else Fraction(source.start_time or 0, av.time_base)


def stamps(path: Path) -> list[Fraction]:
    """Time of every video frame of a file, in seconds, as an independent reader finds it."""
    with av.open(str(path)) as source:
        stream = source.streams.video[0]
        return [frame.pts * stream.time_base for frame in source.decode(stream)]
