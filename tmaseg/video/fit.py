"""Pictures of another size, made to fit."""

import cv2
import numpy as np

from tmaseg.video.frame import RGB


def letterbox(rgb: RGB, width: int, height: int) -> RGB:
    """`rgb` (H, W, 3) scaled to lie within (height, width), its shape kept, centred on black."""
    old_height, old_width = rgb.shape[:2]
    scale = min(width / old_width, height / old_height)
    new_width, new_height = max(1, round(old_width * scale)), max(1, round(old_height * scale))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    small = cv2.resize(rgb, (new_width, new_height), interpolation=method)
    canvas = np.zeros((height, width, 3), np.uint8)
    top, left = (height - new_height) // 2, (width - new_width) // 2
    canvas[top : top + new_height, left : left + new_width] = small
    return canvas
