"""Runs of tmaseg with a tiny network, each in a process forked from one that has imported everything: a run takes no
second, and none can harm another. For scripts/fuzz and scripts/kill_test."""

import os
import resource
import sys
from importlib import import_module
from pathlib import Path

import av
import torch

from tmaseg.cli import main
from tmaseg.labels import generic_labels
from tmaseg.model.checkpoint import Checkpoint, save_checkpoint
from tmaseg.model.config import TMANetConfig
from tmaseg.model.tmanet import TMANet

os.environ["OPENCV_LOG_LEVEL"] = "SILENT"  # read when OpenCV is imported, which comes before `main` here
for _name in ("inference.segmenter", "pipeline.jobs", "pipeline.video"):
    import_module(f"tmaseg.{_name}")  # what a run imports when it needs it
for _name in ("pydantic", "rich.progress"):
    import_module(_name)

_ADDRESS_SPACE = 16 * 2**30  # bytes: a header that lies about sizes must not take the machine


def write_weights(path: Path) -> Path:
    """A checkpoint of a network of some thousand weights, which mean nothing."""
    config = TMANetConfig(
        classes=5,
        backbone="resnet18",
        width=4,
        output_stride=16,
        memory_frames=2,
        key_channels=4,
        head_channels=8,
    )
    torch.manual_seed(0)
    save_checkpoint(path, Checkpoint(config, generic_labels(5), TMANet(config).state_dict()))
    return path


def start(arguments: list[str], said: Path) -> int:
    """Begins `tmaseg ARGUMENTS` with standard output and error into the file `said`; the process's id."""
    sys.stdout.flush()
    process = os.fork()
    if process:
        return process
    code = 70
    try:
        file = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(file, 1)
        os.dup2(file, 2)
        resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE, _ADDRESS_SPACE))
        torch.set_num_threads(1)
        sys.argv = ["tmaseg", *arguments]
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stderr.flush()
        os._exit(code)


def frames_of(video: Path) -> int:
    """How many frames a video has, all of which decode. Raises where it is not whole: ValueError, av.FFmpegError."""
    with av.open(str(video)) as container:
        stream = container.streams.video[0]
        frames = sum(not frame.is_corrupt for frame in container.decode(stream))
        if stream.frames and frames != stream.frames:
            raise ValueError(f"{frames} of {stream.frames} frames decode")
    for sound in range(sum(stream.type == "audio" for stream in container.streams)):
        with av.open(str(video)) as container:
            for _ in container.decode(audio=sound):
                pass
    return frames
