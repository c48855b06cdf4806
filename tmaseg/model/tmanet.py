"""TMANet: the stages of the network in the order a frame passes through them. It holds no video state.

Notation: B batch, T memory frames, S memory encoders, K classes, H W frame, h w = H/s W/s at output stride s,
C backbone, Ck key and Cv value channels, N = T h w memory positions.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from tmaseg.errors import ConfigError
from tmaseg.model.attention import read_memory
from tmaseg.model.backbone import build_backbone, load_imagenet
from tmaseg.model.config import TMANetConfig
from tmaseg.model.encoders import EncoderShape, KeyValueEncoder, MemoryEncoder
from tmaseg.model.head import AuxiliaryHead, SegmentationHead
from tmaseg.model.layers import Features


class TMANet(nn.Module):
    """Temporal Memory Attention network (Wang, Wang and Liu, ICIP 2021).

    `forward` is the clip form: the query and its memory frames, everything computed. A stream computes each frame's
    `features` and `encode_memory` once and keeps them (see `tmaseg.inference.segmenter.Segmenter`).
    """

    def __init__(self, config: TMANetConfig, *, pretrained_backbone: bool = False) -> None:
        super().__init__()
        self.config = config
        self.backbone = build_backbone(config)
        stage1, stage3, stage4 = self.backbone.channels
        shape = EncoderShape(config.key_channels, config.value_channels, config.encoder, config.separable)
        if config.memory_frames:
            self.query_encoder = KeyValueEncoder(stage4, shape)
            self.memory_encoder = MemoryEncoder(stage4, shape, slots=config.slots)
        self.head = SegmentationHead(
            config.value_channels if config.memory_frames else stage4,
            aggregation=config.aggregation,
            head_channels=config.head_channels,
            decoder_channels=config.decoder_channels,
            separable=config.separable,
            classes=config.classes,
            stage1_channels=stage1,
            memory=config.memory_frames > 0,
            align_corners=config.align_corners,
        )
        self.auxiliary = AuxiliaryHead(stage3, classes=config.classes)
        if pretrained_backbone:
            load_imagenet(self.backbone, config.backbone)

    def forward(self, query: Tensor, memory: Tensor | None = None) -> Tensor:
        """query (B, 3, H, W); memory (B, T, 3, H, W), oldest first; both normalised -> logits (B, K, H, W)."""
        return self.resize(self.head_logits(query, memory), (query.shape[-2], query.shape[-1]))

    def head_logits(self, query: Tensor, memory: Tensor | None = None) -> Tensor:
        """As `forward`, but the logits stay at the head's own resolution."""
        features = self.features(query)
        if not self.config.memory_frames:
            return self.answer(features, None, None)
        self._check_memory(query, memory)
        assert memory is not None
        stage4 = self.features(memory.flatten(0, 1)).stage4  # (B T, C, h, w)
        past = stage4.reshape(*memory.shape[:2], *stage4.shape[1:])  # (B, T, C, h, w)
        keys, values = self.encode_clip(past)
        return self.answer(features, keys, values)

    def features(self, frames: Tensor) -> Features:
        """frames (B, 3, H, W), normalised -> the backbone's features."""
        features: Features = self.backbone(frames)
        return features

    def encode_memory(self, stage4: Tensor) -> tuple[Tensor, Tensor]:
        """stage4 (B, C, h, w) of one frame -> its keys (B, S, h w, Ck) and values (B, S, h w, Cv) for every slot."""
        keys, values = self.memory_encoder(stage4)  # (B, S, Ck, h, w), (B, S, Cv, h, w)
        return keys.flatten(3).transpose(2, 3), values.flatten(3).transpose(2, 3)

    def encode_clip(self, stage4: Tensor) -> tuple[Tensor, Tensor]:
        """stage4 (B, T, C, h, w), oldest first -> keys (B, N, Ck), values (B, N, Cv), each by its own slot."""
        pairs = [self.memory_encoder.encode_slot(frame, slot) for slot, frame in enumerate(stage4.unbind(1))]
        keys = torch.stack([key for key, _ in pairs], dim=1)  # (B, T, Ck, h, w)
        values = torch.stack([value for _, value in pairs], dim=1)  # (B, T, Cv, h, w)
        return _positions(keys), _positions(values)

    def answer(
        self, features: Features, keys: Tensor | None, values: Tensor | None, hidden: Tensor | None = None
    ) -> Tensor:
        """Query features, keys (B, N, Ck) and values (B, N, Cv) of memory -> logits (B, K, h, w).

        The head sees zeros for the own value of rows that are `hidden`, bool (B,): only training has any.
        """
        if keys is None or values is None:
            logits: Tensor = self.head(features.stage4, None, features.stage1)
            return logits
        key, value = self.query_encoder(features.stage4)
        read = read_memory(key, keys, values, reach=self.config.reach)
        if hidden is not None:
            value = value.masked_fill(hidden[:, None, None, None], 0)
        logits = self.head(value, read, features.stage1)
        return logits

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


def _positions(maps: Tensor) -> Tensor:
    """(B, T, C, h, w) -> (B, T h w, C)."""
    return maps.flatten(3).transpose(2, 3).flatten(1, 2)
