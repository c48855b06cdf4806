"""One video's state: a network prepared for a device, its memory, and labels for every frame."""
