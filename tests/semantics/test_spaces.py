"""Search spaces: exact sizes against trying every network, and what a choice may be."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

import pytest

import cnndsl
from cnndsl import CnnError, Compilation, Diagnostic, Program
from cnndsl.semantics.space import drawn, follow

NET = "net N: [8, H, W] = "


def networks(program: Program, script: dict[str, int] | None = None) -> Iterator[Compilation]:
    """Every network, found by making the first choice that is open."""
    script = script or {}
    net = program.net(chooser=follow(script))
    if not net.ok or not net.open_choices:
        yield net
        return
    choice = net.open_choices[0]
    for i in range(choice.options):
        yield from networks(program, {**script, choice.path: i})


# --- sizes -----------------------------------------------------------------------------------

BLOCKS = """
block B = oneof(relu, silu, tanh)
block Low = if in.height < 17 then oneof(relu, silu, tanh)
block Thick = if in.channels > 4 then oneof(relu, silu) else tanh
"""
KNOWN = {
    "no choice": ("relu", 1),
    "one alternative": ("oneof(relu)", 1),
    "the same twice": ("oneof(relu, relu)", 2),
    "independent": ("oneof(relu, silu) -> oneof(relu, silu, tanh)", 6),
    "one that opens another": ("oneof(relu, oneof(relu, silu, tanh))", 4),
    "three levels": ("oneof(relu, (oneof(relu, oneof(silu, tanh)) -> oneof(relu, silu)))", 7),
    "a number": ("conv(oneof(4, 8, 16), 3) -> oneof(relu, silu)", 6),
    "what follows depends on a size":
        ("maxpool(oneof(1, 2)) -> Low", 4),
    "what follows depends on channels":
        ("conv(oneof(4, 8), 1) -> Thick", 3),
    "within a join": ("oneof(relu, silu) + oneof(relu, silu, tanh)", 6),
    "an alternative without layers":
        ("a: oneof(relu, id) -> b: oneof(relu, id) -> c: oneof(relu, id)", 8),
    "with and without weights": ("oneof(conv(8, 3), relu)^5", 32),
    "a norm or none": ("oneof(conv(8, 3), relu) -> oneof(bn, relu) -> oneof(tanh, bn)", 8),
    "in a block": ("B -> B", 9),
}  # fmt: skip


@pytest.mark.parametrize("what", KNOWN)
def test_known_sizes(what: str) -> None:
    body, size = KNOWN[what]
    text = f"{BLOCKS}net N: [8, 32, 32] = {body}\n"
    program = cnndsl.loads(text)
    assert program.space().size == size
    assert len(list(networks(program))) == size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("oneof(relu, id)^3", 8),
        ("(a: oneof(conv(3, 3), id)) -> oneof(relu, id) -> oneof(relu, tanh, id)", 12),
        ("oneof(relu, id, oneof(tanh, id) -> relu) -> oneof(relu, id)", 8),
        ("oneof(relu -> oneof(relu, tanh), id)^3", 27),
    ],
)
def test_an_alternative_without_a_position(text: str, size: int) -> None:
    """Paths by position move where `id` is taken: the same path is another choice then."""
    assert cnndsl.loads(NET + text).space().size == size


def body(rng: random.Random, depth: int) -> str:
    """Choices of layers, of numbers, of choices; some reach what follows, some are wrong."""
    atoms = ["relu", "id", "conv(8, 3)", "conv(4, 1)", "conv(oneof(4, 8), 1)", "maxpool(2)"]
    if not depth or rng.random() < 0.2:
        return rng.choice(atoms)
    # labels, for positions move where an alternative takes none
    parts = [f"{word}: {body(rng, depth - 1)}" for word in ("p", "q", "r")[: rng.randint(2, 3)]]
    kinds = [
        f"oneof({', '.join(parts)})",
        f"({' -> '.join(parts)})",
        f"({parts[0]} + j: oneof(relu, conv(8, 3), {parts[1]}))",
        f"(for i in 1..2 do s{{i}}: oneof({parts[0]}, relu))",
        f"({parts[0]} -> if in.channels < 8 then {parts[1]})",
        f"B({rng.choice('48')})",
    ]
    return rng.choice(kinds)


@pytest.mark.parametrize("seed", range(60))
def test_random_spaces(seed: int) -> None:
    """The size is exact, and a space passes exactly if each of its networks does."""
    rng = random.Random(seed)
    block = f"block B(c) = a: conv(c, 1) -> b: {body(rng, 1)} -> c: oneof(relu, silu)\n"
    program = cnndsl.loads(f"{block}net N: [8, 32, 32] = x: {body(rng, 3)}\n")
    space = program.space()
    if not program.net().ok:
        assert {d.code for d in space.diagnostics} == {d.code for d in program.net().diagnostics}
        return
    found = []
    for net in networks(program):
        found.append(net.ok)
        if len(found) > 800:
            pytest.skip("too many to try each")
    if all(found):
        assert space.size == len(found)
    else:
        assert space.diagnostics
        with pytest.raises(CnnError):
            _ = space.size


@pytest.mark.parametrize(
    ("body", "size"),
    [
        (" -> ".join(["oneof(relu, silu)"] * 300), 2**300),
        (" -> ".join(f"x{i}: oneof(conv(8, 3), conv(8, 5), conv(8, 1))" for i in range(300)),
         3**300),
        ("oneof(conv(8, 3), conv(8, 1), conv(8, 5))^100", 3**100),
        ("oneof(relu, silu, oneof(tanh, sigmoid))^100", 4**100),
    ],
    ids=["300 activations", "300 convolutions", "a power", "a power of two levels"],
)  # fmt: skip
def test_large_spaces_are_counted_at_once(body: str, size: int) -> None:
    started = time.process_time()
    assert cnndsl.loads(NET + body).space().size == size
    assert time.process_time() - started < 1


def test_with_and_without_weights_three_hundred_times() -> None:
    """Whether a bias may still be settled changes nothing that could be wrong further on."""
    started = time.process_time()
    assert cnndsl.loads(NET + "oneof(conv(8, 3), relu)^300").space().size == 2**300
    assert cnndsl.loads(NET + "(oneof(conv(8, 3), relu) -> bn)^100").space().size == 2**100
    assert time.process_time() - started < 2  # it took 14 one by one


# --- wrong networks --------------------------------------------------------------------------


def errors(text: str) -> list[Diagnostic]:
    return [d for d in cnndsl.loads(text).space().diagnostics if d.severity == "error"]


def test_the_choice_that_is_wrong_is_named() -> None:
    """Of many that are tried together, the one that needs no other to be wrong."""
    steps = ["oneof(relu, silu)"] * 20
    steps[13] = "k: oneof(relu, id -> (id + conv(4, 1)))"
    (found,) = errors(NET + " -> ".join(steps))
    assert found.code == "E0401"
    assert [note for note in found.notes if "choice" in note] == ["with the choice k=1"]


def test_a_wrong_choice_within_a_choice() -> None:
    text = NET + "a: oneof(relu, (b: oneof(relu, (id + conv(4, 1)))))"
    (found,) = errors(text)
    (note,) = (note for note in found.notes if "choice" in note)
    assert "a=1" in note and "b=1" in note


# --- choosing --------------------------------------------------------------------------------

CHOICES = NET + "a: oneof(relu, relu) -> b: oneof(conv(8,  3), tanh) -> conv(oneof(4, 8), 1)"


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("x", 0, "no choice `x`; choices: a, b, 2.out"),
        ("a", 2, "`a` is one of 0 (relu), 1 (relu), not 2"),
        ("a", -1, "not -1"),
        ("a", "relu", "not relu"),  # which of the two?
        ("b", "silu", "`b` is one of 0 (conv(8, 3)), 1 (tanh), not silu"),
        ("2.out", "²", "not ²"),
    ],
)
def test_a_choice_that_does_not_exist(path: str, value: str | int, said: str) -> None:
    with pytest.raises(ValueError) as raised:
        cnndsl.loads(CHOICES).space().choose({path: value})
    assert str(raised.value).endswith(said)


def test_without_choices_there_is_none_to_make() -> None:
    with pytest.raises(ValueError, match="choices: none"):
        cnndsl.loads(NET + "relu").space().choose({"a": 0})


def test_an_alternative_by_its_text_or_its_number() -> None:
    space = cnndsl.loads(CHOICES).space()
    assert space.choose({"b": " conv(8, 3) "}).script == {"b": 0}
    assert space.choose({"a": 1, "b": "1"}).script == {"a": 1, "b": 1}
    # a number that is the text of an alternative means the alternative
    assert space.choose({"2.out": 8}).first.output_shapes(H=4, W=4) == {"out": (8, 4, 4)}
    assert space.choose({"2.out": 1}).first.output_shapes(H=4, W=4) == {"out": (8, 4, 4)}


def test_what_is_chosen_opens_what_may_be_chosen_next() -> None:
    space = cnndsl.loads(NET + "a: oneof(relu, (b: oneof(silu, tanh)))").space()
    with pytest.raises(ValueError, match="no choice"):
        space.choose({"a.b": 1})
    (path,) = (c.path for c in space.choose({"a": 1}).choices if c.path != "a")
    part = space.choose({"a": 1, path: "tanh"})
    assert part.size == 1
    assert [node.op.text() for node in part.first.graph] == ["input", "tanh"]


def test_parts_make_up_the_whole() -> None:
    space = cnndsl.loads(NET + "a: oneof(relu, oneof(silu, tanh)) -> oneof(relu, silu)").space()
    assert [space.choose({"a": i}).size for i in range(2)] == [2, 4]
    assert space.size == 6


# --- drawing ---------------------------------------------------------------------------------


def test_a_chooser_is_asked_in_the_order_of_the_text() -> None:
    asked = []

    def last(path: str, count: int) -> int:
        asked.append((path, count))
        return count - 1

    text = NET + "a: oneof(relu, (oneof(id, relu, silu) -> c: tanh)) -> b: oneof(relu, silu)"
    net = cnndsl.loads(text).net(chooser=last)
    assert net.ok
    assert [path for path, _ in asked] == [choice.path for choice in net.expansion.choices]
    assert [count for _, count in asked] == [2, 3, 2]
    assert [choice.taken for choice in net.expansion.choices] == [1, 2, 1]


def test_the_same_seed_draws_the_same_network() -> None:
    text = NET + " -> ".join(f"s{i}: oneof(relu, silu, tanh)" for i in range(12))
    drawings = [cnndsl.loads(text).space().sample(seed).graph.signature() for seed in range(8)]
    again = [cnndsl.loads(text).space().sample(seed).graph.signature() for seed in range(8)]
    assert drawings == again
    assert len(set(map(str, drawings))) == 8


def test_a_draw_is_the_same_on_every_machine() -> None:
    assert [drawn(seed, {})("a.0", 10) for seed in range(6)] == [1, 5, 7, 5, 6, 9]


def test_a_draw_depends_on_its_path_alone() -> None:
    """Another choice before it, or none made by a script, changes nothing."""
    short = cnndsl.loads(NET + "a: oneof(relu, silu, tanh) -> b: oneof(relu, silu, tanh)")
    long = cnndsl.loads(NET + "z: oneof(id, relu) -> b: oneof(relu, silu, tanh) -> oneof(id, relu)")
    for seed in range(20):
        one, two = short.space().sample(seed), long.space().sample(seed)
        taken = [{c.path: c.taken for c in net.expansion.choices}["b"] for net in (one, two)]
        assert taken[0] == taken[1]
        assert drawn(seed, {"a": 2})("a", 3) == 2


def test_draws_are_even() -> None:
    counts = [0] * 3
    for seed in range(600):
        counts[drawn(seed)("a", 3)] += 1
    assert min(counts) > 150


# --- budgets ---------------------------------------------------------------------------------

PAIR = f"{NET}oneof(conv(8, 3), relu) -> oneof(relu, conv(8, 3))"


def test_a_budget_holds_for_every_network() -> None:
    """Each choice alone keeps it; two convolutions together do not."""
    assert cnndsl.loads(f"{PAIR} assert params <= 1168").space().size == 4
    space = cnndsl.loads(f"{PAIR} assert params <= 600").space()
    (problem,) = space.diagnostics
    assert problem.code == "E0501" and problem.notes == ("with the choice 0=0, 1=1",)


def test_a_budget_over_many_networks_is_refused_at_once() -> None:
    text = f"{NET}oneof(conv(8, 3), relu)^40 assert params <= 1M"
    started = time.process_time()
    (problem,) = cnndsl.loads(text).diagnostics
    assert problem.code == "E0212" and "its budget asks" in problem.message
    assert time.process_time() - started < 2
