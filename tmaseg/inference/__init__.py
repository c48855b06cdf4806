"""One video's state: a network prepared for a device, its memory, and labels for every frame.

device          which device and precision, copies; the only module that names kinds of devices
engine          the network's three methods, folded, joined, compiled
sliding_window  regions of a frame, each with a memory of its own
scene_cut       cuts and gaps in time
macs            multiply-adds of a frame
key_frames      labels warped between the frames that pass the network
postprocess     logits -> labels
frame_segmenter FrameSegmenter: all of it but the network, frame by frame; LoadedNetwork makes them
segmenter       Segmenter: all of it with a network in torch; open_network: from weights to a LoadedNetwork
onnx_export, onnx_step, onnx_runtime    the same as an exported file
"""
