"""Label sets: names, colours, ignore index, id maps; the only palettes in the program."""

from tmaseg.labels.classmap import ClassMap, map_by_name
from tmaseg.labels.entries import Colour, voc_colours
from tmaseg.labels.label_set import LabelSet
from tmaseg.labels.palettes import CAMVID, CAMVID12, CAMVID32, CITYSCAPES, generic_labels, get_labels, label_set_names
from tmaseg.labels.unions import ClassUnions, unite_by_name

__all__ = [
    "CAMVID",
    "CAMVID12",
    "CAMVID32",
    "CITYSCAPES",
    "ClassMap",
    "ClassUnions",
    "Colour",
    "LabelSet",
    "generic_labels",
    "get_labels",
    "label_set_names",
    "map_by_name",
    "unite_by_name",
    "voc_colours",
]
