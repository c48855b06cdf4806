"""What an exported ONNX file says of itself, read without the onnx package: only its metadata is parsed."""

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_ENTRY = 14  # metadata_props of ModelProto; an entry's fields 1 and 2 are key and value


@dataclass(frozen=True, kw_only=True)
class OnnxSpec:
    """How a network is exported: one streaming step, with everything fixed that a run might choose."""

    memory_frames: int
    """T; 0: a step has no state."""
    size: int | None
    """Short side of the network's input; None: the frame's own."""
    frame_hw: tuple[int, int] | None = None
    """(H, W) of the frames it takes; None: any."""
    precision: str = "fp32"
    """fp32, fp16, or int8: convolutions in 8 bits, the rest in fp32."""
    logits: bool = False
    """Whether it puts out logits, too."""
    weights: str = ""
    """What it was exported from, as the user gave it."""

    @property
    def frame(self) -> str:
        """WIDTHxHEIGHT, or "dynamic"."""
        return f"{self.frame_hw[1]}x{self.frame_hw[0]}" if self.frame_hw else "dynamic"


def read_onnx_metadata(path: Path) -> dict[str, str]:
    """The metadata of an ONNX file by name. Raises ValueError for a file that is none, OSError for one unreadable."""
    found = {}
    with path.open("rb") as file:
        end = file.seek(0, 2)
        file.seek(0)
        while file.tell() < end:
            number, kind = divmod(_varint(file), 8)
            if kind == 0:
                _varint(file)
                continue
            length = {1: 8, 5: 4}.get(kind) or (_varint(file) if kind == 2 else -1)
            if length < 0 or file.tell() + length > end or not 0 < number < 100:
                raise ValueError("no ONNX file, or a truncated one")
            if number == _ENTRY:
                name, value = _strings(file, file.tell() + length)
                found[name] = value
            else:
                file.seek(length, 1)
    return found


def _strings(file: BinaryIO, end: int) -> list[str]:
    texts = {1: "", 2: ""}
    while file.tell() < end:
        number = _varint(file) // 8
        texts[number] = file.read(_varint(file)).decode()
    return [texts[1], texts[2]]


def _varint(file: BinaryIO) -> int:
    value = shift = 0
    while True:
        byte = file.read(1)
        if not byte or shift > 63:
            raise ValueError("no ONNX file, or a truncated one")
        value |= (byte[0] & 0x7F) << shift
        shift += 7
        if byte[0] < 0x80:
            return value
