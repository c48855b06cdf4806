"""The package as a whole: who imports whom, what is public, and what `import tmaseg` costs."""

import ast
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from types import ModuleType

from tiny import tiny_checkpoint

import tmaseg
from tmaseg.model.checkpoint import save_checkpoint

PACKAGE = Path(tmaseg.__file__).parent

# A part imports only parts of a lower level; parts of one level do not import each other.
LEVELS = (
    ("arrays", "errors"),
    ("files",),
    ("labels", "signals"),
    ("model", "video"),
    ("data", "inference", "metrics", "plots", "render"),
    ("options",),
    ("evaluation",),
    ("benchmark", "pipeline", "training"),
    ("cli",),
)
LEVEL = {part: level for level, parts in enumerate(LEVELS) for part in parts}
FORBIDDEN = {"model": ("av", "typer"), "video": ("torch", "torchvision")}


def modules():
    for path in sorted(PACKAGE.rglob("*.py")):
        part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if part not in ("__init__", "__main__"):
            yield path, part, ast.parse(path.read_text(encoding="utf-8"))


def imported(tree):
    """Full names of all that is imported, inside functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_every_part_has_a_level():
    assert {part for _, part, _ in modules()} <= set(LEVEL)


def test_a_part_imports_only_from_below():
    wrong = []
    for path, part, tree in modules():
        for name in imported(tree):
            if not name.startswith("tmaseg."):
                continue
            other = name.split(".")[1]
            if other in LEVEL and other != part and LEVEL[other] >= LEVEL[part]:
                wrong.append(f"{path.relative_to(PACKAGE)} imports {name}")
    assert not wrong


def test_the_network_knows_no_video_and_video_no_network():
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {name}"
        for path, part, tree in modules()
        for name in imported(tree)
        if name.split(".")[0] in FORBIDDEN.get(part, ())
    ]
    assert not wrong


def test_nothing_is_printed_and_click_is_not_imported():
    wrong = []
    for path, _, tree in modules():
        calls = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
        if any(isinstance(called, ast.Name) and called.id == "print" for called in calls):
            wrong.append(f"{path.relative_to(PACKAGE)} prints")
        if any(name.split(".")[0] == "click" for name in imported(tree)):
            wrong.append(f"{path.relative_to(PACKAGE)} imports click, which Typer brings a copy of")
    assert not wrong


def test_all_lists_what_is_public():
    for name in tmaseg.__all__:
        assert getattr(tmaseg, name) is not None
    visible = {
        name
        for name in dir(tmaseg)
        if not name.startswith("_") and not isinstance(getattr(tmaseg, name), ModuleType) and name != "TYPE_CHECKING"
    }
    assert visible | {"__version__"} == set(tmaseg.__all__)
    assert list(tmaseg.__all__) == sorted(tmaseg.__all__)


def test_a_checkout_runs_without_being_installed(monkeypatch):
    def fail(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", fail)
    monkeypatch.delitem(vars(tmaseg), "__version__", raising=False)
    assert tmaseg.__version__ == "checkout"
    del tmaseg.__version__


def test_the_command_line_starts_without_the_heavy_parts():
    heavy = ("torch", "torchvision", "av", "cv2", "PIL", "numpy", "rich.progress")
    code = f"""
import sys
from typer.testing import CliRunner
from tmaseg.cli import app
for arguments in (["--help"], ["run", "--help"], ["frames", "--help"], ["--version"]):
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
print([name for name in {heavy} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_run_loads_no_module_that_it_does_not_need(tmp_path):
    weights = tmp_path / "tiny.safetensors"
    save_checkpoint(weights, tiny_checkpoint())
    foreign = ("training", "evaluation", "benchmark", "data", "metrics", "plots")
    libraries = ("matplotlib", "jinja2", "torchvision", "sklearn", "torch._dynamo", "sympy")
    code = f"""
import sys
from typer.testing import CliRunner
from tmaseg.cli import app
arguments = ["run", "--demo", "--end", "0.2", "--size", "64", "--weights", {str(weights)!r}, "--device", "cpu"]
result = CliRunner().invoke(app, [*arguments, "-o", {str(tmp_path / "out.mp4")!r}])
assert result.exit_code == 0, result.output
print(sorted(name for name in sys.modules if name.startswith(tuple(f"tmaseg.{{part}}" for part in {foreign}))))
print([name for name in {libraries} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["[]", "[]"]


def test_training_and_data_sets_need_no_pyav():
    code = """
import sys
sys.modules["av"] = None
import tmaseg.data, tmaseg.training, tmaseg.cli.train
"""
    subprocess.run([sys.executable, "-c", code], check=True)
