"""read_memory: the temporal memory attention itself (paper, equation 1)."""

import torch
from torch import Tensor
from torch.nn import functional


def read_memory(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """For each query position, the values of memory averaged by how well their keys match; no 1/sqrt(Ck) (equation 1).

    query (B, Ck, h, w); keys (B, N, Ck) and values (B, N, Cv) of all N = T h w memory positions, in any order.
    Returns (B, Cv, h, w) in the query's dtype. The (h w, N) attention matrix is never whole in memory.
    """
    batch, _, height, width = query.shape
    rows = query.flatten(2).transpose(1, 2)  # (B, h w, Ck)
    wider = values.shape[-1] - keys.shape[-1]
    if wider > 0:  # zeros added to query and key leave their product as it is; equal widths reach the fused kernel
        rows, keys = functional.pad(rows, (0, wider)), functional.pad(keys, (0, wider))
    read = functional.scaled_dot_product_attention(rows[:, None], keys[:, None], values[:, None], scale=1.0)
    return read[:, 0].transpose(1, 2).reshape(batch, -1, height, width).contiguous(memory_format=torch.channels_last)
