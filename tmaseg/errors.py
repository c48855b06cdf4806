"""Everything that tmaseg raises on purpose.

TmasegError                 one line for the user: what came, what was expected, what to do
├── ConfigError             a network configuration or an option that cannot work
├── LabelError              a label set, palette or class name that is unknown or malformed
├── CheckpointError         a weights file that is missing, damaged or of another program
├── VideoError              a video or image source that cannot be opened or read
├── OutputError             a file or folder that cannot be written
├── DataError               a data set whose layout or labels are not as they must be
├── TrainingError           a training run that cannot go on
├── ShortageError           memory that does not suffice, whatever is given up
└── MemoryStateError        a memory ring used out of order or with tensors that do not fit it
"""


class TmasegError(Exception):
    """Base of every error that the command line prints as one line and turns into exit code 1."""


class ConfigError(TmasegError):
    """A configuration or an option has a value that cannot work."""


class LabelError(TmasegError):
    """A label set, a palette or a class name is unknown or malformed."""


class CheckpointError(TmasegError):
    """A weights file is missing, damaged, or was not written by this program."""


class VideoError(TmasegError):
    """A video, URL or image folder cannot be opened or holds nothing to read."""


class OutputError(TmasegError):
    """An output file or folder cannot be written."""


class DataError(TmasegError):
    """A data set's layout, lists or labels are not as they must be."""


class TrainingError(TmasegError):
    """A training run cannot go on, as when its loss is no number any more."""


class ShortageError(TmasegError):
    """Memory does not suffice: for what was asked, or whatever is given up."""


class MemoryStateError(TmasegError):
    """A memory ring was read before it held a frame, or was given tensors of another shape."""
