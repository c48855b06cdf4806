"""Video and images in and out: PyAV and NumPy, no torch."""
