"""Data sets known by name: tables of those in parallel folders; and how a data set is opened."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from tmaseg.data.camvid import find_camvid
from tmaseg.data.cityscapes import LABEL_IDS, TRAIN_IDS, find_cityscapes
from tmaseg.data.clip import Clip, make_clips, single_clips
from tmaseg.data.dataset import Dataset
from tmaseg.data.described import find_yaml
from tmaseg.data.files import folders_in, images_in, pair_problems, paired, read_names, require_root
from tmaseg.data.folder import find_folder
from tmaseg.data.masks import MaskReader
from tmaseg.errors import DataError
from tmaseg.labels import CITYSCAPES, LabelSet, voc_colours


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A data set whose pictures and masks lie in parallel folders, with the same stems."""

    name: str
    title: str
    description: str
    expected: str
    folders: Mapping[str, tuple[str, str]]
    """Split -> folders of pictures and of masks; "*" is each sequence. The split "test" may have no masks."""
    reader: MaskReader
    required: tuple[str, ...]
    """Folders by which the layout is recognised."""
    rate: float | None = None
    """Frames a second; None: the pictures do not follow each other."""
    listed: bool = False
    """Whether SPLIT.txt lists the sequences of each split."""
    labelled_ending: str | None = None
    """Of the stems of labelled frames, where the frames between have no masks."""
    stretch: float = 1.0
    default_split: str = "val"
    notes: tuple[str, ...] = ()

    def find(self, root: Path) -> Dataset:
        """The data set in `root` or one folder below. Raises DataError that says what is expected."""

        def is_complete(folder: Path) -> bool:
            lists = not self.listed or any(folder.glob("*.txt"))
            return lists and all((folder / name).is_dir() for name in self.required)

        root = require_root(root, is_complete, name=self.title, expected=self.expected)
        problems: list[str] = []
        return Dataset(
            self.name,
            self.description,
            root,
            self.reader,
            {split: self._clips(root, split, problems) for split in self.folders},
            default_split=self.default_split,
            problems=tuple(problems),
            notes=self.notes,
            stretch=self.stretch,
        )

    def _clips(self, root: Path, split: str, problems: list[str]) -> tuple[Clip, ...]:
        frames = []
        for sequence in self._sequences(root, split, problems):
            folders = [pattern.replace("*", sequence) for pattern in self.folders[split]]
            images, masks = (images_in(root / folder, problems) for folder in folders)
            between = self.labelled_ending is not None
            if masks or split != "test":
                problems += pair_problems(images, masks, where=folders[0], image_only_ok=between)
            prefix = f"{sequence}/" if sequence else ""
            for frame in paired(images, masks, folder=prefix, unlabelled=between or split == "test"):
                if split == "test" and frame.name.endswith(self.labelled_ending or ""):
                    frame = replace(frame, wanted=True)
                frames.append((sequence or frame.name.rsplit("_", 1)[0], frame))
        return make_clips(frames, rate=self.rate) if self.rate else single_clips(frame for _, frame in frames)

    def _sequences(self, root: Path, split: str, problems: list[str]) -> list[str]:
        """Names of the folders that "*" stands for."""
        if "*" not in self.folders[split][0]:
            return [""]
        parents = {root / pattern.partition("*")[0] for pattern in self.folders[split]}
        known = dict.fromkeys(folder.name for parent in sorted(parents) for folder in folders_in(parent))
        if not self.listed:
            return list(known)
        path = root / f"{split}.txt"
        return read_names(path, known, problems, where="data/", noun="video") if path.is_file() else []


CITYSCAPES256 = Layout(
    name="cityscapes256",
    title="cityscapes256",
    description="numbered pictures, trainIds",
    expected="train/ + trainannot/, val/ + valannot/",
    folders={split: (split, f"{split}annot") for split in ("train", "val")},
    reader=TRAIN_IDS,
    required=("val", "valannot"),
    stretch=2.0,
    notes=(
        "no past frames exist: memory is made from each frame itself",
        "squashed to 256x256, with labels recovered from lossy colours: figures are not those of Cityscapes",
    ),
)
KITTI = Layout(
    name="kitti",
    title="KITTI semantics",
    description="semantic benchmark, labelIds converted in memory",
    expected="training/image_2/, training/semantic/ and testing/image_2/: unpack data_semantics.zip there",
    folders={"train": ("training/image_2", "training/semantic"), "test": ("testing/image_2", "testing/semantic")},
    reader=LABEL_IDS,
    required=("training/image_2",),
    rate=10.0,
    labelled_ending="_10",
    default_split="train",
    notes=("training/ is its only labelled split: figures of weights trained on it mean nothing",),
)
KITTI_STEP = Layout(
    name="kitti-step",
    title="KITTI-STEP",
    description="panoptic maps, trainIds in red",
    expected="images/{train,val}/0000/ and panoptic_maps/{train,val}/0000/, as its guide sets them up",
    folders={split: (f"images/{split}/*", f"panoptic_maps/{split}/*") for split in ("train", "val", "test")},
    reader=MaskReader.of_ids(CITYSCAPES, {index: index for index in range(19)}, void=(255,), channel=0),
    required=("panoptic_maps",),
    rate=10.0,
)
# In the order of the ids 1 to 124 of its label files; id 0 is "others".
_VSPW_NAMES = """
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
_VSPW_LABELS = LabelSet("vspw", tuple(_VSPW_NAMES.split()), voc_colours(125)[1:], ids=tuple(range(1, 125)))
VSPW = Layout(
    name="vspw",
    title="VSPW",
    description="ids 1-124, void 0 and 255",
    expected="data/VIDEO/origin/, data/VIDEO/mask/ and train.txt, val.txt, test.txt: give the VSPW or VSPW_480p folder",
    folders=dict.fromkeys(("train", "val", "test"), ("data/*/origin", "data/*/mask")),
    reader=MaskReader.of_ids(_VSPW_LABELS, {index: index - 1 for index in range(1, 125)}, void=(0, 255)),
    required=("data",),
    rate=15.0,
    listed=True,
)

DATASETS: Mapping[str, Callable[[Path], Dataset]] = {
    "camvid": find_camvid,
    "cityscapes": find_cityscapes,
    "cityscapes256": CITYSCAPES256.find,
    "idd-lite": lambda root: find_yaml(Path(__file__).with_name("idd-lite.yaml"), root),
    "kitti": KITTI.find,
    "kitti-step": KITTI_STEP.find,
    "vspw": VSPW.find,
    "folder": find_folder,
}


def is_described(name: str) -> bool:
    """Whether a data set's name is that of a YAML file, which describes where its pictures are."""
    return Path(name).suffix.lower() in (".yaml", ".yml")


def open_dataset(name: str, data: Path | None = None) -> Dataset:
    """The data set `name`, or the one that a YAML file of this name describes.

    `data` is its folder; None: what the environment variable says (CAMVID_DATASET, KITTI_STEP_DATASET ...), else
    ./data/NAME. Raises DataError that says which folder was searched and what is expected there.
    """
    if is_described(name):
        return find_yaml(Path(name), data)
    name = name.lower()
    if name not in DATASETS:
        known = ", ".join(DATASETS)
        raise DataError(f"unknown data set {name!r}; known are {known}, or a .yaml file that describes one")
    variable = f"{name.upper().replace('-', '_')}_DATASET"
    root = data or Path(os.environ.get(variable) or Path("data") / name)
    if not root.is_dir():
        remedy = ": give the folder of the data set with --data"
        if data is None:
            remedy = f", the default: give --data DIR or set {variable}"
        raise DataError(f"{root} {'is a file' if root.exists() else 'does not exist'}{remedy}")
    return DATASETS[name](root)
