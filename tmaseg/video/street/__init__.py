"""A street of our own: a drive, drawn frame by frame, with the class of every pixel.

plan        the cross-section, and which kind of block follows which
layout      what stands in each block; traffic: who moves where at a time; motorway: both of one
view        the camera's drive, and perspective; light: sun, shadows, haze
canvas      strokes that set a pixel's colour and its class together
ground, sky, surfaces, trees, props, vehicles, bodies, people: what is drawn
lens        softness, exposure, noise
scene       Street: all of it, at any moment; source: StreetSource, as a video
"""

from tmaseg.video.street.plan import Place
from tmaseg.video.street.scene import Picture, Street
from tmaseg.video.street.source import StreetSource

__all__ = ["Picture", "Place", "Street", "StreetSource"]
