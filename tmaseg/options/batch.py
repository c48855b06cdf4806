"""How several sources are found and shared out."""

from dataclasses import dataclass
from typing import Annotated

from tmaseg.errors import ConfigError
from tmaseg.options.network import check_device
from tmaseg.options.panels import INPUT, NETWORK, option


@dataclass(frozen=True, kw_only=True)
class BatchOptions:
    """How several sources are found and shared out. Raises ConfigError for values that cannot work."""

    recursive: Annotated[
        bool, option(INPUT, "--recursive", help="Take every video and folder of images below the folders given.")
    ] = False
    devices: Annotated[
        tuple[str, ...] | None,
        option(
            NETWORK,
            "--devices",
            help="Share the work out among devices, a process each: auto (all), or such as cuda:0,cuda:1,cpu.",
            metavar="DEVICE,...",
            show_default=False,
        ),
    ] = None
    cluster: Annotated[
        str | None,
        option(
            NETWORK,
            help="Run each source as a task of a Ray cluster: ray (RAY_ADDRESS or the local one) or ray://HOST:PORT.",
            metavar="ray|ADDRESS",
            show_default=False,
        ),
    ] = None

    def __post_init__(self) -> None:
        for name in self.devices or ():
            check_device(name, "--devices")
        if self.cluster is not None and self.cluster != "ray" and not self.cluster.startswith("ray://"):
            raise ConfigError(f"--cluster is {self.cluster!r}; it must be ray, or an address such as ray://host:10001")
        if self.cluster and self.devices:
            raise ConfigError("--cluster takes the devices that Ray gives each task: leave out --devices")
