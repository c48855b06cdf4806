"""Data sets as people have them: labelled frames with the frames before them."""
