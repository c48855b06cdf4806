"""From a source through the network to outputs, all at once.

video     one video: `run_video`, `segment_video`
frames    a folder of images: `run_frames`
stages    the threads between source and outputs; of a live source, the newest frame first
outputs   what is written of every frame
jobs      several sources: where the outputs of each go, and running them
workers   the same in a process for each device, or as tasks of a Ray cluster
remote    sources and outputs on a storage service
parts     what an unfinished run has done; `resume`: going on with it
tables    a line for each frame: events, statistics
preview   a page that shows the run
report    what a run did
"""
