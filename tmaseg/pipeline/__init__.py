"""From a source through the network to outputs, all at once.

video     one video: `run_video`, `segment_video`
frames    a folder of images: `run_frames`
stages    the threads between source and outputs
outputs   what is written of every frame
report    what a run did
"""
