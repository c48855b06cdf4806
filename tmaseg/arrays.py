"""Types of the arrays that the parts pass to each other."""

import numpy as np
from numpy.typing import NDArray

RGB = NDArray[np.uint8]
"""(H, W, 3): a picture, red first, full range, upright."""
Labels = NDArray[np.uint8]
"""(H, W): the class id of every pixel."""
