"""VSPW: 124 classes, every frame of every video labelled."""

from pathlib import Path

from tmaseg.data.clip import ClipFrame, make_clips, split_number
from tmaseg.data.dataset import Dataset
from tmaseg.data.files import few, folders_in, images_in, pair_problems, read_list, require_root
from tmaseg.data.masks import MaskReader
from tmaseg.labels import LabelSet, voc_colours

RATE = 15.0
# In the order of the ids 1 to 124 of its label files; id 0 is "others".
_NAMES = """
wall ceiling door stair ladder escalator Playground_slide handrail_or_fence window rail goal pillar pole floor ground
grass sand athletic_field road path crosswalk building house bridge tower windmill well_or_well_lid other_construction
sky mountain stone wood ice snowfield grandstand sea river lake waterfall water billboard_or_Bulletin_Board sculpture
pipeline flag parasol_or_umbrella cushion_or_carpet tent roadblock car bus truck bicycle motorcycle wheeled_machine
ship_or_boat raft airplane tyre traffic_light lamp person cat dog horse cattle other_animal tree flower other_plant
toy ball_net backboard skateboard bat ball cupboard_or_showcase_or_storage_rack box traveling_case_or_trolley_case
basket bag_or_package trash_can cage plate tub_or_bowl_or_pot bottle_or_cup barrel fishbowl bed pillow table_or_desk
chair_or_seat bench sofa shelf bathtub gun commode roaster other_machine refrigerator washing_machine Microwave_oven
fan curtain textiles clothes painting_or_poster mirror flower_pot_or_vase clock book tool blackboard tissue
screen_or_television computer printer Mobile_phone keyboard other_electronic_product fruit food instrument train
"""
VSPW = LabelSet("vspw", tuple(_NAMES.split()), voc_colours(125)[1:], ids=tuple(range(1, 125)))


def find_vspw(root: Path) -> Dataset:
    """VSPW in `root` or one folder below: data/VIDEO/origin, data/VIDEO/mask, and lists of videos. Raises DataError."""
    root = require_root(
        root,
        lambda folder: (folder / "data").is_dir() and any(folder.glob("*.txt")),
        name="VSPW",
        expected="data/VIDEO/origin/, data/VIDEO/mask/ and train.txt, val.txt, test.txt: give the VSPW or VSPW_480p "
        "folder",
    )
    problems: list[str] = []
    known = {video.name for video in folders_in(root / "data") if (video / "origin").is_dir()}
    splits = {}
    for split in ("train", "val", "test"):
        path = root / f"{split}.txt"
        videos = [fields[0] for fields in read_list(path, known.__contains__)] if path.is_file() else []
        missing = [video for video in videos if video not in known]
        if missing:
            problems.append(f"{split}.txt: {few(missing, 'video')} not in data/: unpack them or remove the lines")
        frames: list[tuple[str, ClipFrame]] = []
        for video in videos:
            frames += [(video, frame) for frame in _video(root / "data" / video, split, problems)]
        splits[split] = make_clips(frames, rate=RATE)
    reader = MaskReader.of_ids(VSPW, {index + 1: index for index in range(len(VSPW))}, void=(0, 255))
    return Dataset("vspw", f"{root.name}, ids 1-124, void 0 and 255", root, reader, splits, problems=tuple(problems))


def _video(folder: Path, split: str, problems: list[str]) -> list[ClipFrame]:
    images, masks = images_in(folder / "origin", problems), images_in(folder / "mask", problems)
    if split != "test" or masks:
        problems += pair_problems(images, masks, where=f"data/{folder.name}")
    return [
        ClipFrame(f"{folder.name}/{stem}", path, split_number(stem)[1] or 0, masks.get(stem), wanted=True)
        for stem, path in images.items()
        if stem in masks or split == "test"
    ]
