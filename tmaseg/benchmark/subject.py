"""Subject: the network that is measured."""

from dataclasses import dataclass

import torch

from tmaseg.benchmark.options import BenchOptions
from tmaseg.labels import LabelSet, generic_labels
from tmaseg.model.checkpoint import Checkpoint, View, load_checkpoint
from tmaseg.model.config import TMANetConfig
from tmaseg.model.tmanet import TMANet

_PAPERS = {
    "camvid": TMANetConfig(classes=12, memory_encoder="per-slot"),
    "cityscapes": TMANetConfig(classes=19, memory_frames=2, memory_encoder="per-slot", align_corners=True),
}


@dataclass(frozen=True)
class Subject:
    """A network by its configuration, with weights or without."""

    title: str
    """For people."""
    config: TMANetConfig
    labels: LabelSet
    view: View
    """How a run looks at frames."""
    checkpoint: Checkpoint | None = None
    """None: any weights do."""

    @classmethod
    def choose(cls, options: BenchOptions) -> "Subject":
        """Raises CheckpointError, and ConfigError for a change that the configuration cannot take."""
        if options.paper:
            subject = cls._without_weights(f"the authors' network for {options.paper}", _PAPERS[options.paper])
        else:
            found = load_checkpoint(options.weights)
            subject = cls(options.weights, found.config, found.labels, found.view, found)
        if not options.changes:
            return subject
        config = TMANetConfig.from_dict({**subject.config.to_dict(), **options.changes})
        changed = ", ".join(f"{name}={value}" for name, value in options.changes.items())
        return cls._without_weights(f"{subject.title}, {changed}", config)

    @classmethod
    def _without_weights(cls, title: str, config: TMANetConfig) -> "Subject":
        return cls(title, config, generic_labels(config.classes), View())

    def build(self, device: torch.device) -> TMANet:
        """The network on its device, in evaluation mode, not folded."""
        net = self.checkpoint.build() if self.checkpoint else TMANet(self.config).eval()
        return net.to(device)
