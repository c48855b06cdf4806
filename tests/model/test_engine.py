"""The fast forms of the engine against the plain ones: joined encoders, compiled passes, and no compiler at all."""

import pytest
import torch
from tiny import noise_frames, tiny_net
from torch._inductor import compile_fx
from torch._inductor import config as inductor

from tmaseg.errors import ConfigError
from tmaseg.labels import generic_labels
from tmaseg.model import compiler, engine
from tmaseg.model.compiler import CompiledBefore, can_compile, repays
from tmaseg.model.engine import Engine, prepare
from tmaseg.stream import Segmenter

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "inductor"))


@pytest.mark.parametrize("encoder", ["1x1", "3x3", "1x1+3x3"])
@pytest.mark.parametrize("memory_encoder", ["shared", "per-slot"])
@pytest.mark.parametrize("folded", [True, False])
def test_joined_encoders_give_what_each_gives_by_itself(encoder, memory_encoder, folded):
    net = tiny_net(encoder=encoder, memory_encoder=memory_encoder)
    if folded:
        prepare(net, CPU, "fp32")
    frames = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        look, features = Engine(net).look(frames), net.features(frames)
        wanted = (*net.query_encoder(features.stage4), *net.encode_memory(features.stage4))
    for name, one, other in zip(("key", "value", "keys", "values"), look[1:], wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}")


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
    segmenter, fast = stream(net, compiling="on")
    assert segmenter.engine.compiled
    assert not segmenter.warnings
    for one, other in zip(fast, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    look, answer = graphs
    assert look == [(1, 3, 64, 96)]
    # the frame's key and value, and three frames' keys and values, at 4 x 6 positions; this head needs no stage 1
    assert sorted(answer) == sorted([(1, 4, 4, 6), (1, 16, 4, 6), (1, 72, 4), (1, 72, 16)])


def test_without_a_compiler_it_goes_on_as_it_was_and_says_so(monkeypatch):
    monkeypatch.setattr(compiler, "can_compile", lambda: False)
    net = prepare(tiny_net(), CPU, "fp32")
    segmenter, logits = stream(net, compiling="on")
    assert not segmenter.engine.compiled
    assert len(segmenter.warnings) == 1
    assert "C++ compiler" in segmenter.warnings[0]
    assert all((one == other).all() for one, other in zip(logits, stream(net)[1], strict=True))


def test_a_compiler_that_fails_costs_nothing_but_a_line(monkeypatch):
    class BackendError(Exception):
        """As torch raises them."""

    BackendError.__module__ = "torch._inductor.exc"

    def broken(*_):
        def call(*_):
            raise BackendError("CppCompileError: disk full\nwith many more lines")

        return call

    monkeypatch.setattr(engine, "compiled", broken)
    net = prepare(tiny_net(), CPU, "fp32")
    segmenter, logits = stream(net, compiling="on")
    assert segmenter.warnings == ("not compiled: torch.compile failed (CppCompileError: disk full)",)
    assert all((one == other).all() for one, other in zip(logits, stream(net)[1], strict=True))


def test_errors_of_the_network_itself_are_not_taken_for_the_compilers(monkeypatch):
    monkeypatch.setattr(engine, "compiled", lambda function, _: function)
    ready = Engine(prepare(tiny_net(), CPU, "fp32"))
    ready.compile()
    with pytest.raises(RuntimeError, match="channels"):
        ready.look(torch.zeros(1, 4, 64, 96))


def test_auto_compiles_long_videos_only(monkeypatch):
    asked = []
    monkeypatch.setattr(engine, "compiled", lambda function, _: asked.append(function) or function)
    monkeypatch.setattr("tmaseg.compiling.can_compile", lambda: True)
    net = prepare(tiny_net(), CPU, "fp32")
    segmenter = Segmenter(net, generic_labels(5), compiling="auto")
    frames = noise_frames(8, (64, 96))
    for expected, compiles in ((8, False), (None, False), (10**7, True)):
        segmenter.reset()
        segmenter.expect(expected)
        for frame in frames:
            segmenter.step(frame)
        assert segmenter.engine.compiled == compiles
        assert bool(asked) == compiles


def test_what_was_compiled_before_repays_sooner(monkeypatch):
    before = CompiledBefore("network", (64, 96))
    assert not before
    before.remember()
    assert CompiledBefore("network", (64, 96))
    assert not CompiledBefore("network", (64, 97))
    assert repays(0.1, 5000, torch.float32, again=True)
    assert not repays(0.1, 5000, torch.float32, again=False)
    monkeypatch.setattr(compiler, "cpu_flags", lambda: frozenset({"amx_bf16"}))
    assert repays(0.1, 1500, torch.bfloat16, again=False)
    assert not repays(0.1, 1500, torch.float32, again=False)


def test_no_compiler_is_an_error_that_says_what_to_do(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ConfigError, match=r"install g\+\+"):
        compiler.compiled(lambda x: x, CPU)
