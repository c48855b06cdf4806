"""The fast forms of the engine against the plain ones: joined encoders, compiled passes, and no compiler at all."""

import pytest
import torch
from tiny import noise_frames, tiny_net
from torch import nn
from torch._inductor import compile_fx
from torch._inductor import config as inductor

from tmaseg.errors import ConfigError
from tmaseg.inference import engine
from tmaseg.inference.engine import BitReLU, Engine, can_compile, prepare, repays
from tmaseg.inference.segmenter import Segmenter
from tmaseg.labels import generic_labels
from tmaseg.model.config import InputGeometry

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "inductor"))


@pytest.mark.parametrize("separable", [False, True])
@pytest.mark.parametrize("encoder", ["1x1", "3x3", "1x1+3x3"])
@pytest.mark.parametrize("memory_encoder", ["shared", "per-slot"])
@pytest.mark.parametrize("folded", [True, False])
def test_joined_encoders_give_what_each_gives_by_itself(encoder, separable, memory_encoder, folded):
    net = tiny_net(encoder=encoder, separable=separable, memory_encoder=memory_encoder)
    if folded:
        prepare(net, CPU, "fp32")
    frames = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        fast = net.for_inference()
        joined, plain = fast.encode_frame(frames).stage4, net.encode_frame(frames).stage4
        joins = not (separable and encoder == "3x3")  # depthwise convolutions do not
        assert joined.shape[1] == (20 * (1 + net.config.slots) if joins else 32)
        found = (*fast.query_encoder(joined), *fast.encode_memory(joined))
        wanted = (*net.query_encoder(plain), *net.encode_memory(plain))
    for name, one, other in zip(("key", "value", "keys", "values"), found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("kind", [nn.ReLU, nn.ReLU6])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_by_integers_every_number_of_16_bits_has_its_relu(dtype, kind, inplace):
    numbers = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(dtype)
    numbers = numbers[~numbers.isnan()].reshape(-1, 2, 1).transpose(0, 1)  # in another order than they lie in
    given = numbers.clone()
    found = BitReLU(kind(inplace=inplace), dtype)(given)
    assert torch.equal(found, kind()(numbers))
    assert torch.equal(given, found if inplace else numbers)


@pytest.mark.parametrize(("precision", "count"), [("fp32", 0), ("bf16", 1)])
def test_on_a_cpu_16_bits_use_it_everywhere(precision, count):
    modules = list(prepare(tiny_net(), CPU, precision).modules())
    plain = sum(isinstance(each, nn.ReLU) for each in modules)
    assert plain
    assert sum(isinstance(each, BitReLU) for each in modules) == count * plain


def stream(net, **options):
    segmenter = Segmenter(Engine(net), generic_labels(5), detect_cuts=False, **options)
    segmenter.expect(5)
    frames = noise_frames(5, (64, 96))
    return segmenter, [segmenter.step(frame, logits=True).logits for frame in frames]


def inputs_of_graphs(monkeypatch, *, build):
    """Lists the shapes of what every graph that Inductor is given takes; it builds them, or they run as they are."""
    real, seen = compile_fx.compile_fx, []

    def compile_graph(graph, examples, **options):
        assert inductor.freezing
        seen.append([tuple(node.meta["example_value"].shape) for node in graph.graph.find_nodes(op="placeholder")])
        return real(graph, examples, **options) if build else graph.forward

    torch.compiler.reset()
    monkeypatch.setattr(compile_fx, "compile_fx", compile_graph)
    return seen


@pytest.mark.skipif(not can_compile(), reason="no C++ compiler")
def test_compiled_passes_have_their_weights_inside_and_give_the_logits_of_the_plain_ones(monkeypatch):
    net = prepare(tiny_net(memory_encoder="per-slot"), CPU, "fp32")
    _, plain = stream(net)
    graphs = inputs_of_graphs(monkeypatch, build=True)
    segmenter, fast = stream(net, compile="on")
    assert segmenter.engine.compiled
    assert not segmenter.warnings
    for one, other in zip(fast, plain, strict=True):
        # Sums of up to 9 x 64 products in another order, layer upon layer: some thousand units in the last place.
        torch.testing.assert_close(one, other, rtol=0, atol=1e-4 * float(other.abs().max()))
    encode_frame, encode_memory, decode = graphs
    assert encode_frame == [(1, 3, 64, 96)]
    # what all encoders read, and three frames' keys and values, at 4 x 6 positions; this head needs no stage 1
    assert encode_memory == [(1, 80, 4, 6)]
    assert sorted(decode) == sorted([(1, 80, 4, 6), (1, 72, 4), (1, 72, 16)])


def test_without_a_compiler_it_goes_on_as_it_was_and_says_so(monkeypatch):
    monkeypatch.setattr(engine, "can_compile", lambda: False)
    net = prepare(tiny_net(), CPU, "fp32")
    segmenter, logits = stream(net, compile="on")
    assert not segmenter.engine.compiled
    assert len(segmenter.warnings) == 1
    assert "C++ compiler" in segmenter.warnings[0]
    assert all((one == other).all() for one, other in zip(logits, stream(net)[1], strict=True))


class BackendError(Exception):
    """As torch raises them."""

    def __init__(self, inner):
        super().__init__(f"backend='inductor' raised:\n{type(inner).__name__}: {inner}")
        self.inner_exception = inner


BackendError.__module__ = "torch._dynamo.exc"


@pytest.mark.parametrize(
    ("inner", "cause"),
    [
        (RuntimeError("disk full\nwith many more lines"), "RuntimeError: disk full"),
        (BackendError(ValueError("\n\n a register is missing ")), "ValueError: a register is missing"),
        (NotImplementedError(), "NotImplementedError"),
    ],
)
def test_a_compiler_that_fails_costs_nothing_but_a_line(monkeypatch, inner, cause):
    def broken(*_):
        def call(*_):
            raise BackendError(inner)

        return call

    monkeypatch.setattr(engine, "compiled", broken)
    net = prepare(tiny_net(), CPU, "fp32")
    segmenter, logits = stream(net, compile="on")
    assert segmenter.warnings == (f"not compiled: torch.compile failed ({cause})",)
    assert all((one == other).all() for one, other in zip(logits, stream(net)[1], strict=True))


def test_more_shapes_than_torch_would_compile_are_compiled(monkeypatch):
    monkeypatch.setattr(engine, "can_compile", lambda: True)
    graphs = inputs_of_graphs(monkeypatch, build=False)
    double = engine.compiled(lambda x: 2 * x, CPU)
    with torch.inference_mode():
        for length in range(2, 14):
            assert (double(torch.ones(length)) == 2).all()
    assert graphs == [[(length,)] for length in range(2, 14)]


def test_too_many_shapes_are_a_failure_to_compile(monkeypatch):
    monkeypatch.setattr(engine, "can_compile", lambda: True)
    monkeypatch.setattr(engine, "_MOST_SHAPES", 1)
    inputs_of_graphs(monkeypatch, build=False)
    net = prepare(tiny_net(), CPU, "fp32")
    fast, plain = (Segmenter(net, generic_labels(5), compile=choice) for choice in ("on", "off"))
    for size_hw, compiles in (((64, 96), True), ((64, 64), False)):
        (frame,) = noise_frames(1, size_hw)
        got, want = (segmenter.step(frame, logits=True).logits for segmenter in (fast, plain))
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)
        assert fast.engine.compiled == compiles
    assert fast.warnings == ("not compiled: torch.compile failed (frames came in too many different sizes)",)


def test_errors_of_the_network_itself_are_not_taken_for_the_compilers(monkeypatch):
    monkeypatch.setattr(engine, "compiled", lambda function, _: function)
    ready = Engine(prepare(tiny_net(), CPU, "fp32"))
    ready.compile()
    with pytest.raises(RuntimeError, match="channels"):
        ready.encode_frame(torch.zeros(1, 4, 64, 96))


def watched(net, frames, expected=None, **options):
    """A segmenter that has seen the frames of a video said to have so many."""
    segmenter = Segmenter(net, generic_labels(5), **options)
    see(segmenter, frames, expected)
    return segmenter


def see(segmenter, frames, expected):
    segmenter.reset()
    segmenter.expect(expected)
    for frame in frames:
        segmenter.step(frame)


def test_auto_compiles_long_videos_only(monkeypatch):
    asked = []
    monkeypatch.setattr(engine, "compiled", lambda function, _: asked.append(function) or function)
    net = prepare(tiny_net(), CPU, "fp32")
    segmenter = Segmenter(net, generic_labels(5), compile="auto")
    for expected, compiles in ((8, False), (None, False), (10**7, True)):
        see(segmenter, noise_frames(8, (64, 96)), expected)
        assert segmenter.engine.compiled == compiles
        assert bool(asked) == compiles


def test_auto_misses_a_compiler_only_where_it_would_repay_and_says_so_once(monkeypatch):
    monkeypatch.setattr(engine, "can_compile", lambda: False)
    segmenter = Segmenter(prepare(tiny_net(), CPU, "fp32"), generic_labels(5), compile="auto")
    said = []
    for expected in (8, 10**7, 10**7):
        see(segmenter, noise_frames(8, (64, 96)), expected)
        said.append(segmenter.warnings)
    assert said[0] == said[2] == ()
    (warning,) = said[1]
    assert "C++ compiler" in warning


def test_what_was_compiled_before_is_known_by_what_the_network_saw(monkeypatch):
    known = []
    monkeypatch.setattr(engine, "compiled", lambda function, _: function)
    monkeypatch.setattr("tmaseg.inference.engine.repays", lambda *_, again: known.append(again))
    net = prepare(tiny_net(), CPU, "fp32")
    watched(net, noise_frames(1, (96, 144)), compile="on", geometry=InputGeometry(size=64))
    for options in (
        {"geometry": InputGeometry(size=64)},
        {"geometry": InputGeometry(window=96)},
        {"geometry": InputGeometry(size=64), "memory_frames": 2},
        {"geometry": InputGeometry(window=48)},
        {},
    ):
        watched(net, noise_frames(5, (64, 96)), 9, compile="auto", **options)
    watched(net, noise_frames(5, (32, 48)), 9, compile="auto", geometry=InputGeometry(size=64))
    assert known == [True, True, False, False, True, True]


def test_what_was_compiled_before_repays_sooner():
    assert repays(0.1, 3000, torch.float32, CPU, again=True)
    assert not repays(0.1, 3000, torch.float32, CPU, again=False)


def test_what_compiling_gains_depends_on_where_it_runs(monkeypatch):
    for flags, device, dtype, frames in (
        ({"amx_bf16"}, CPU, torch.bfloat16, 1501),
        ({"amx_bf16"}, CPU, torch.float32, 5626),
        (set(), CPU, torch.bfloat16, 5626),
        ({"amx_bf16"}, torch.device("cuda"), torch.bfloat16, 1801),
        (set(), torch.device("cuda"), torch.float32, 1801),
    ):
        monkeypatch.setattr(engine, "cpu_flags", lambda flags=flags: frozenset(flags))
        assert repays(0.1, frames, dtype, device, again=False)
        assert not repays(0.1, frames - 2, dtype, device, again=False)


def test_no_compiler_is_an_error_that_says_what_to_do(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ConfigError, match=r"install g\+\+"):
        engine.compiled(lambda x: x, CPU)
