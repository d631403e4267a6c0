"""Labels that published module paths ask for, and words passed on as parameters."""

import pytest

import cnndsl


def _paths(term: str, *declarations: str) -> list[str]:
    text = "\n".join([*declarations, f"net N: [4, H, W] = {term}"])
    program = cnndsl.loads(text)
    assert program.diagnostics == ()
    return [node.path for node in program.net().graph if node.inputs]


@pytest.mark.parametrize("word", ["block", "def", "net", "import", "for", "if", "id", "in", "with"])
def test_a_word_of_the_language_may_be_a_label(word: str) -> None:
    assert _paths(f"{word}: conv(4, 1)") == [word]
    assert _paths(f"relu -> {word}: (relu -> relu) -> relu") == ["0", f"{word}.0", f"{word}.1", "2"]
    assert _paths(f"{word}{{7}}: relu") == [f"{word}7"]


def test_declarations_around_such_labels_stand() -> None:
    block = "block B = block: conv(4, 1) -> net: relu"
    assert _paths("def: B", block, "def C = relu", "# unused\n")[:2] == ["def.block", "def.net"]


def test_a_sign_after_a_number_of_a_label() -> None:
    assert _paths("for i in 0..1 do block{i}-{i+1}: relu") == ["block0-1", "block1-2"]
    assert _paths("a{1}-b{2}: relu -> c{3}-4: relu") == ["a1-b2", "c3-4"]


@pytest.mark.parametrize("term", ["a{1}--{2}: relu", "relu -> if 1 < 2 then relu else: relu"])
def test_what_is_no_label(term: str) -> None:
    problems = cnndsl.loads(f"net N: [4, H, W] = {term}").diagnostics
    assert [problem.code for problem in problems] == ["E0101"]


def test_auto_passes_through_a_declaration() -> None:
    block = "block B(k, padding = auto) = conv: conv(8, k, padding=padding)"
    unpadded = cnndsl.loads(f"{block}\nnet N: [4, H, W] = B(3) -> B(3, padding=0)")
    assert unpadded.net().min_size == {"H": 3, "W": 3}
    even = cnndsl.loads(f"{block}\nnet N: [4, H, W] = B(2)")
    assert [problem.code for problem in even.diagnostics] == ["E0302"]
