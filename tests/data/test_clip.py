"""Clips: past frames by number, and streams cut down to what a memory needs."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tmaseg.data.clip import Clip, ClipFrame, make_clips, split_number, trim


def clip_of(numbers, labelled):
    frames = tuple(ClipFrame(str(n), Path(f"{n}.png"), n, wanted=n in labelled) for n in sorted(numbers))
    return Clip("film", frames)


def test_names_of_camvid_and_others():
    assert split_number("Seq05VD_f00030") == ("Seq05VD", 30)
    assert split_number("0016E5_07959") == ("0016E5", 7959)
    assert split_number("00000012") == ("", 12)
    assert split_number("frankfurt_000000_000294") == ("frankfurt_000000", 294)
    assert split_number("street") == ("street", None)


def test_past_frames_repeat_their_neighbour_where_one_is_missing():
    clip = clip_of([1, 2, 3, 5, 6], {6})
    frame = clip.frames[-1]
    assert [other.number for other in clip.past(frame, (4, 3, 2, 1))] == [2, 3, 3, 5]
    assert [other.number for other in clip.past(frame, (9, 1))] == [1, 5]
    first = clip.frames[0]
    assert clip.past(first, (2, 1)) == (first, first)


def test_steps_are_those_of_the_clip():
    """CamVid's labelled frames lie 30 numbers apart, give or take one."""
    clip = clip_of([0, 30, 60, 91, 120], {0, 30, 60, 91, 120})
    assert clip.step == 30
    assert [other.number for other in clip.past(clip.frames[3], (2, 1))] == [30, 60]
    (stream,) = trim(clip, 4)
    assert [frame.number for frame in stream.frames] == [0, 30, 60, 91, 120]


def test_films_part_where_numbers_leap():
    frames = [ClipFrame(str(n), Path("x"), n) for n in (10, 12, 14, 90, 92)]
    clips = make_clips([("a", frame) for frame in frames] + [("b", frames[0])], longest_gap=61)
    assert [(clip.name, len(clip.frames)) for clip in clips] == [("a_10", 3), ("a_90", 2), ("b", 1)]
    nameless = [ClipFrame(name, Path("x"), 0) for name in "xyz"]
    (clip,) = make_clips(("f", frame) for frame in nameless)
    assert [frame.number for frame in clip.frames] == [0, 1, 2]


@given(
    st.sets(st.integers(0, 40), min_size=1, max_size=30).flatmap(
        lambda numbers: st.tuples(st.just(numbers), st.sets(st.sampled_from(sorted(numbers)), min_size=1))
    ),
    st.integers(0, 5),
)
def test_a_trimmed_stream_shows_each_wanted_frame_what_it_needs(both, past):
    """Every wanted frame comes once, in order; before it comes what `past` names, as far as the film goes back."""
    clip = clip_of(*both)
    streams = list(trim(clip, past))
    seen = [frame.number for stream in streams for frame in stream.frames if frame.wanted]
    assert seen == sorted(both[1])
    for stream in streams:
        numbers = [frame.number for frame in stream.frames]
        assert numbers == sorted(numbers)
        for place, frame in enumerate(stream.frames):
            if not frame.wanted:
                continue
            steps = [
                back for back in range(past, 0, -1) if frame.number - back * clip.step > clip.frames[0].number - 0.5
            ]
            wanted = [other.number for other in clip.past(frame, steps)]
            if clip.step == 1:  # with other steps neighbours that lie off the grid are shown as they are
                assert numbers[max(0, place - past) : place][-len(wanted) :] == wanted if wanted else True
    assert all(any(frame.wanted for frame in stream.frames[: past + 1]) for stream in streams)


@given(st.sets(st.integers(0, 30), min_size=1), st.integers(0, 4))
def test_a_film_labelled_throughout_without_gaps_is_one_stream(numbers, past):
    dense = range(min(numbers), max(numbers) + 1)
    (stream,) = trim(clip_of(dense, set(dense)), past)
    assert [frame.number for frame in stream.frames] == list(dense)
    assert stream.name == "film"
