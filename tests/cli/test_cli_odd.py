"""Every odd file through `tmaseg run`, held against what PyAV says of it."""

import av
import pytest


def video_of(container):
    """Times of all pictures in seconds, and the size of the first, upright."""
    stream = container.streams.video[0]
    times, size = [], None
    for frame in container.decode(stream):
        turned = frame.rotation % 180 != 0
        size = size or ((frame.height, frame.width) if turned else (frame.width, frame.height))
        times.append(frame.pts * stream.time_base)
    return times, size


def test_every_odd_file(tmaseg, shared, tmp_path):
    paths = [path for path in sorted(shared("video/odd").iterdir()) if path.name != "LICENSE"]
    assert len(paths) > 15
    for path in paths:
        target = tmp_path / f"{path.name}.mp4"
        answer = tmaseg("run", path, "-o", target, "--size", 32, "--preset", "veryfast", "--json")
        assert answer.code == 0, answer.err
        with av.open(str(path)) as before, av.open(str(target)) as after:
            times, size = video_of(before)
            if before.format.name in ("mpeg", "mpegts"):  # their clocks begin anywhere: the output's begins with them
                origin = min(each.start_time * each.time_base for each in before.streams)
                times = [each - origin for each in times]
            new_times, new_size = video_of(after)
            context, sound = after.streams.video[0].codec_context, len(after.streams.audio)
            assert new_times == times, path.name
            assert new_size == tuple(side + side % 2 for side in size), path.name
            assert sound == len(before.streams.audio), path.name
            assert after.duration == pytest.approx(before.duration, abs=150_000), path.name
        tags = (context.colorspace, context.color_range, context.color_primaries, context.color_trc)
        assert (tags, context.pix_fmt, context.name) == ((1, 1, 1, 1), "yuv420p", "h264"), path.name
        report = answer.json
        assert (report["frames"], report["damaged"], report["damaged_packets"]) == (len(times), False, 0), path.name
        assert (report["width"], report["height"]) == size, path.name
