"""What a segmentation is worth: accuracy against labels, and consistency in time."""
