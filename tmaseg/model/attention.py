"""read_memory: the temporal memory attention itself (paper, equation 1).

Notation: B batch, M = h w query positions, N = T h w memory positions, Ck key and Cv value channels.
"""

import torch
from torch import Tensor
from torch.nn import functional

from tmaseg.model.device import cpu_flags

_QUERY_ROWS = 256
_FUSED_WIDTH = 256  # the widest head that the fused CUDA kernels take
_AMX = "amx_bf16" in cpu_flags()  # read once: a compiler that follows `read_memory` cannot follow a file
_LEAST_SCORE = -60.0  # below the row's highest: e^-60 is 1e-26


def read_memory(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """For each query position, memory's values averaged by how well their keys match; no 1/sqrt(Ck) (equation 1).

    query (B, Ck, h, w); keys (B, N, Ck) and values (B, N, Cv) of all memory positions, in any order.
    Returns (B, Cv, h, w) in the values' dtype. The (M, N) attention matrix is never whole in memory. Scores and the
    softmax are float32 whatever the dtype: unscaled scores reach the tens, where bfloat16 steps by a quarter.
    """
    batch, _, height, width = query.shape
    rows = query.flatten(2).transpose(1, 2)  # (B, M, Ck)
    read = (_fused if _fused_is_faster(rows) else _chunked)(rows, keys, values)  # (B, M, Cv)
    return read.transpose(1, 2).reshape(batch, -1, height, width)


def _fused_is_faster(rows: Tensor) -> bool:
    # Measured on CPUs at M 2700, N 10800, Ck 64, Cv 256, bf16. With AMX: whole matrix 51 ms, fused 23. Without it
    # (AVX512-BF16, Zen 5): whole matrix 50, fused 180, chunks 62. In fp32 on a Xeon without AMX: whole 135, fused 125,
    # heads of 64 apart 316, chunks of 64 to 512 rows 82 to 104. Training always takes the fused form: it keeps no
    # matrix for backward. float16 takes it on CPUs, whose plain half-precision products are twenty times slower.
    if rows.is_cuda or torch.is_grad_enabled() or rows.dtype == torch.float16:
        return True
    return rows.dtype == torch.bfloat16 and _AMX


def _fused(rows: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Through scaled_dot_product_attention, whose fused kernels want keys and values of one width of at most 256."""
    parts = torch.split(values, max(_FUSED_WIDTH, keys.shape[-1]), dim=-1)
    return torch.cat([_fused_part(rows, keys, part) for part in parts], dim=-1)


def _fused_part(rows: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    wider = values.shape[-1] - keys.shape[-1]
    if wider > 0:  # zeros added to both sides leave the products as they are
        rows, keys = functional.pad(rows, (0, wider)), functional.pad(keys, (0, wider))
    elif wider < 0:
        values = functional.pad(values, (0, -wider))
    read = functional.scaled_dot_product_attention(rows[:, None], keys[:, None], values[:, None], scale=1.0)[:, 0]
    return read[..., : read.shape[-1] + min(wider, 0)]


def _chunked(rows: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """The explicit softmax, a few hundred query positions at a time."""
    columns = keys.float().transpose(1, 2)  # (B, Ck, N)
    read = [
        torch.matmul(_shares(torch.matmul(part.float(), columns)).to(values.dtype), values)
        for part in torch.split(rows, _QUERY_ROWS, dim=1)
    ]
    return torch.cat(read, dim=1)  # (B, M, Cv)


def _shares(scores: Tensor) -> Tensor:
    """Softmax of scores (..., N) float32 over N, except that no share is under 1e-26 of the highest. Alters `scores`.

    Unscaled scores spread over hundreds, and e^-90 is a denormal number, with which processors multiply slowly. One
    share in twenty was one with the shipped weights: at 480x360 and T = 4 in fp32 attention took 96 ms, so 16 ms.
    """
    return scores.sub_(scores.amax(-1, keepdim=True)).clamp_min_(_LEAST_SCORE).softmax(-1)
