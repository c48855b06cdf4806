"""TMANet: the stages of the network in the order a frame passes through them. It holds no video state.

Notation: B batch, T memory frames, S memory encoders, K classes, H W frame, h w = H/s W/s at output stride s,
C backbone, Ck key and Cv value channels, P = h w positions of a frame, N = T P memory positions.
"""

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from tmaseg.errors import ConfigError
from tmaseg.model.config import TMANetConfig
from tmaseg.model.efficientnet_lite import EfficientNetLite
from tmaseg.model.layers import AuxiliaryHead, KeyValueEncoder, MemoryEncoder, SegmentationHead, join_first_convolutions
from tmaseg.model.memory import Attend, fused, read_memory
from tmaseg.model.resnet import Features, ResNet


class TMANet(nn.Module):
    """Temporal Memory Attention network (Wang, Wang and Liu, ICIP 2021).

    Everything runs through three methods: `encode_frame`, `encode_memory` and `decode`. `forward` is the clip form: the
    query and its memory frames, everything computed. A stream encodes each frame once and keeps keys and values (see
    `tmaseg.Segmenter`).
    """

    def __init__(self, config: TMANetConfig, *, pretrained_backbone: bool = False) -> None:
        super().__init__()
        self.config = config
        self.attend: Attend = fused
        """Implementation of attention; all give the same but for rounding."""
        self.backbone = build_backbone(config)
        stage1, stage3, stage4 = self.backbone.channels
        if config.memory_frames:
            shape = (stage4, config.key_channels, config.value_channels, config.encoder)
            encoders = [KeyValueEncoder(*shape, separable=config.separable) for _ in range(1 + config.slots)]
            self.query_encoder, self.memory_encoder = encoders[0], MemoryEncoder(encoders[1:])
        self.projection: nn.Module = nn.Identity()
        self.head = SegmentationHead(
            (1 if config.aggregation == "sum" else 2) * config.value_channels if config.memory_frames else stage4,
            aggregation=config.aggregation,
            head_channels=config.head_channels,
            decoder_channels=config.decoder_channels,
            separable=config.separable,
            classes=config.classes,
            stage1_channels=stage1,
            align_corners=config.align_corners,
        )
        self.auxiliary = AuxiliaryHead(stage3, classes=config.classes)
        if pretrained_backbone:
            self.backbone.load_imagenet()

    def forward(self, query: Tensor, memory: Tensor | None = None) -> Tensor:
        """query (B, 3, H, W); memory (B, T, 3, H, W), oldest first; both normalised -> logits (B, K, H, W)."""
        return self.resize(self.head_logits(query, memory), (query.shape[-2], query.shape[-1]))

    def head_logits(self, query: Tensor, memory: Tensor | None = None) -> Tensor:
        """As `forward`, but the logits stay at the head's own resolution."""
        frame = self.encode_frame(query)
        if not self.config.memory_frames:
            return self.decode(frame, None, None)
        self._check_memory(query, memory)
        assert memory is not None
        stage4 = self.encode_frame(memory.flatten(0, 1)).stage4  # (B T, C, h, w)
        past = stage4.reshape(*memory.shape[:2], *stage4.shape[1:])  # (B, T, C, h, w)
        return self.decode(frame, *self.encode_clip(past, frame))

    def encode_frame(self, frames: Tensor) -> Features:
        """frames (B, 3, H, W), normalised -> the features that the other two methods read."""
        stage1, stage3, stage4 = self.backbone(frames)
        return Features(stage1, stage3 if hasattr(self, "auxiliary") else None, self.projection(stage4))

    def encode_memory(self, stage4: Tensor, slot: int | None = None) -> tuple[Tensor, Tensor]:
        """stage4 (B, C, h, w) of a frame -> its keys (B, S, P, Ck) and values (B, S, P, Cv) for every slot.

        With `slot`, for that one alone, S being 1.
        """
        keys, values = self.memory_encoder(stage4, slot)  # (B, S, Ck, h, w), (B, S, Cv, h, w)
        return keys.flatten(3).transpose(2, 3), values.flatten(3).transpose(2, 3)

    def decode(
        self, frame: Features, keys: Tensor | None, values: Tensor | None, hidden: Tensor | None = None
    ) -> Tensor:
        """A frame, and keys (B, N, Ck) and values (B, N, Cv) of memory -> logits (B, K, h, w) of the head.

        The keys and values are None for a network without memory. The head gets zeros for the own value of rows that
        are `hidden`, bool (B,): only training has any.
        """
        if keys is None or values is None:
            logits: Tensor = self.head(frame.stage4, None, frame.stage1)
            return logits
        key, value = self.query_encoder(frame.stage4)
        read = read_memory(key, keys, values, reach=self.config.reach, attend=self.attend)
        if hidden is not None:
            value = value.masked_fill(hidden[:, None, None, None], 0)
        logits = self.head(value, read, frame.stage1)
        return logits

    def encode_clip(self, stage4: Tensor, query: Features) -> tuple[Tensor, Tensor]:
        """The memory of a query in the clip form: keys (B, N, Ck), values (B, N, Cv), each frame by its own slot.

        stage4 (B, T, C, h, w) of the memory frames, oldest first.
        """
        frames = [self.encode_memory(frame, slot) for slot, frame in enumerate(stage4.unbind(1))]
        if self.config.self_in_memory:
            frames.append(self.encode_memory(query.stage4))
        keys, values = (torch.cat([each[:, 0] for each in encoded], dim=1) for encoded in zip(*frames, strict=True))
        return keys, values

    def for_inference(self) -> "TMANet":
        """The same network on the same parameters, but without auxiliary head, and with its encoders' first
        convolutions joined to one: their weights are copied."""
        net = deepcopy(self, {id(each): each for each in (*self.parameters(), *self.buffers())}).eval()
        del net.auxiliary
        if self.config.memory_frames:
            slots = [slot for slot in net.memory_encoder.slots if isinstance(slot, KeyValueEncoder)]
            net.projection = join_first_convolutions([net.query_encoder, *slots]) or net.projection
        return net

    def resize(self, logits: Tensor, size_hw: tuple[int, int]) -> Tensor:
        """Bilinear resize of logits (B, K, h, w) to (B, K, *size_hw), corners as configured."""
        return functional.interpolate(logits, size_hw, mode="bilinear", align_corners=self.config.align_corners)

    def _check_memory(self, query: Tensor, memory: Tensor | None) -> None:
        frames = self.config.memory_frames
        shape = (query.shape[0], frames, *query.shape[1:])
        if memory is None:
            raise ConfigError(f"this network reads {frames} memory frames and none came: pass memory of shape {shape}")
        free = self.config.memory_encoder == "shared"  # a shared encoder takes any number of frames
        wanted = (shape[0], memory.shape[1] if free and memory.ndim == 5 else frames, *shape[2:])
        if tuple(memory.shape) != wanted or not memory.shape[1]:
            raise ConfigError(
                f"memory has shape {tuple(memory.shape)}; it must be {shape}: (B, T, 3, H, W), oldest first"
            )


class _WithoutInit(TorchFunctionMode):
    """No random numbers: on the meta device they cost the import of torch's compiler, which takes seconds."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return None if func.__name__.endswith(("normal_", "uniform_")) else func(*args, **kwargs or {})


def empty_network(config: TMANetConfig) -> TMANet:
    """A network whose parameters have shapes but no storage (torch's meta device)."""
    with torch.device("meta"), _WithoutInit():
        return TMANet(config)


def build_backbone(config: TMANetConfig) -> ResNet | EfficientNetLite:
    """The backbone that `config.backbone` names, with random weights."""
    if config.backbone.startswith("resnet"):
        return ResNet(config.backbone, stem=config.stem, width=config.width, output_stride=config.output_stride)
    return EfficientNetLite(config.backbone, output_stride=config.output_stride)
