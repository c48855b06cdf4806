"""Label sets: names, colours, ignore index, id maps; the only palettes in the program."""

from tmaseg.labels.label_set import Colour, LabelSet, voc_colours
from tmaseg.labels.palettes import (
    CAMVID,
    CAMVID12,
    CAMVID32,
    CITYSCAPES,
    ClassMap,
    ClassUnions,
    generic_labels,
    get_labels,
    label_set_names,
    map_by_name,
    map_to_groups,
    unite_by_name,
)

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
    "map_to_groups",
    "unite_by_name",
    "voc_colours",
]
