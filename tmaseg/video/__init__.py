"""Video and images in and out: PyAV and NumPy, no torch."""

from pathlib import Path

from tmaseg.errors import VideoError
from tmaseg.video.address import is_live

DEMO = Path(__file__).parents[1] / "demo.mp4"
"""A short real clip that ships with the program: a motorway, 3.6 s of 960x540 at 25 frames a second, with sound."""


def check_exists(spec: str | Path) -> None:
    """Raises VideoError for a file or folder that is missing, without the imports that reading it takes."""
    if str(spec) != "-" and "://" not in str(spec) and not is_live(spec) and not Path(spec).expanduser().exists():
        raise missing(spec)


def missing(spec: str | Path) -> VideoError:
    """The error for a source that does not exist."""
    return VideoError(f"{spec} does not exist; give a video file, a folder of images, a URL, or a camera (camera:0)")
