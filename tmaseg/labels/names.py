"""How class names are compared: spelling, synonyms, and the usual merges of fine classes into coarse ones."""


def plain(name: str) -> str:
    """A name without case, spaces and punctuation, so that 'Sign/Symbol' meets 'SignSymbol'."""
    return "".join(letter for letter in name.casefold() if letter.isalnum()) or name


def concept(name: str) -> str:
    """One word for all the names of one thing: "pavement" and "Sidewalk" are both "sidewalk"."""
    return _CONCEPTS.get(plain(name), plain(name))


# One concept has many names. Each line: the concept, then its other names, all as plain spells them.
_CONCEPTS = {
    synonym: line.split()[0]
    for line in (
        "road roadway street carriageway",
        "sidewalk pavement footpath footway pavementsidewalk sidewalkpavement",
        "vegetation tree trees",
        "trafficsign sign signs signsymbol trafficsigns roadsign",
        "trafficlight trafficlights trafficsignal trafficlightsignal",
        "person pedestrian people human",
        "rider bicyclist cyclist",
        "bicycle bike",
        "motorcycle motorbike motorcyclescooter",
        "pole columnpole column post",
        "building buildings",
        "car automobile cars",
        "lanemarking lanemarkings lanemkgsdriv lanemarkdriving",
    )
    for synonym in line.split()
}

# Where a target lacks a concept, the first of these that it has: the usual merges of CamVid's 32 classes into 11.
MERGED_INTO: dict[str, tuple[str, ...]] = {
    "wall": ("building",),
    "archway": ("building",),
    "bridge": ("building",),
    "tunnel": ("building",),
    "house": ("building",),
    "trafficcone": ("pole",),
    "lanemarking": ("road",),
    "lanemkgsnondriv": ("road",),
    "crosswalk": ("road",),
    "parkingblock": ("sidewalk",),
    "roadshoulder": ("sidewalk",),
    "curb": ("sidewalk",),
    "vegetationmisc": ("vegetation",),
    "terrain": ("vegetationmisc", "vegetation"),
    "grass": ("terrain", "vegetationmisc", "vegetation"),
    "plant": ("vegetation",),
    "misctext": ("trafficsign",),
    "trafficlight": ("trafficsign",),
    "suvpickuptruck": ("car",),
    "van": ("car",),
    "othermoving": ("car",),
    "truckbus": ("truck", "bus", "car"),
    "truck": ("truckbus", "car"),
    "bus": ("truckbus", "car"),
    "train": ("car",),
    "tram": ("train", "car"),
    "child": ("person",),
    "cartluggagepram": ("person",),
    "animal": ("person",),
    "rider": ("person",),
    "motorcycle": ("rider",),
    "bicycle": ("rider",),
    "motorcyclist": ("rider",),
}
