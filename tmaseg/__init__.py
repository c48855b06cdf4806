"""Video semantic segmentation with a temporal memory (TMANet): a class for every pixel of every frame."""
