"""Options that several commands share."""

from typing import Annotated, Literal

import typer

Weights = Annotated[str, typer.Option(help="Shipped weights by name, or a .safetensors file.", metavar="NAME|FILE")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.", metavar="DEVICE")]
Precision = Annotated[
    Literal["auto", "fp32", "bf16", "fp16"], typer.Option(help="Arithmetic of the network; auto takes what is fast.")
]
Size = Annotated[
    int | None, typer.Option(help="Short side fed to the network; outputs keep the input's size.", metavar="PIXELS")
]
Memory = Annotated[int | None, typer.Option(help="Past frames remembered; 0: each frame alone.", metavar="N")]
Window = Annotated[int | None, typer.Option(help="Look through square windows of this side.", metavar="PIXELS")]
Stride = Annotated[int | None, typer.Option(help="Step between windows.", metavar="PIXELS")]
KeyFrames = Annotated[
    int, typer.Option(help="Network on every k-th frame only; labels between follow the motion.", metavar="K")
]

Compile = Annotated[
    Literal["auto", "on", "off"],
    typer.Option("--compile", help="Compile the network; auto does where the input is long enough to repay it."),
]
MaxMemory = Annotated[
    float | None,
    typer.Option(help="Stay below this: look at smaller frames or remember fewer, and say so.", metavar="MB"),
]

Opacity = Annotated[float, typer.Option(help="Of the colours in an overlay: 0 (none) to 1.", metavar="SHARE")]
Palette = Annotated[
    str | None,
    typer.Option(
        help="Other colours, by class name: cityscapes, camvid, camvid32, voc, or a JSON or YAML file.",
        metavar="NAME|FILE",
    ),
]
Classes = Annotated[
    list[str] | None, typer.Option(help="Paint only these, such as road,car.", metavar="NAME,...", show_default=False)
]
Legend = Annotated[bool, typer.Option("--legend", help="Write class names beside their colours.")]

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace outputs that exist.")]
SkipExisting = Annotated[bool, typer.Option("--skip-existing", help="Keep outputs that exist, and make the others.")]
Strict = Annotated[bool, typer.Option("--strict", help="Exit with 3 when the input was damaged or incomplete.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show a traceback with an error.")]
