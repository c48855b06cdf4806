"""The network, in the order in which a frame passes through it."""
