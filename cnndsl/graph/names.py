"""Names that a text can give, for graphs that come from elsewhere than a text.

A name that arrives from another program or a stranger's file is one of these, or is refused.
"""

from __future__ import annotations

import keyword
import re

from cnndsl.graph.model import Graph, Node
from cnndsl.graph.spaces import around, spaces
from cnndsl.graph.spelling import label
from cnndsl.limits import Limits
from cnndsl.ops import catalogue
from cnndsl.syntax.parser import keywords

_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LABEL = re.compile(
    r"[A-Za-z_][A-Za-z0-9_]*(\{\w+\}-?([A-Za-z_][A-Za-z0-9_]*)?)*|[0-9]+([eE][0-9]+)?[KMG]?"
)


class NameProblem(ValueError):
    """A name that no text gives. ``node`` has it, or ``output``, or else the network."""

    def __init__(self, message: str, node: int | None = None, output: str | None = None) -> None:
        super().__init__(message)
        self.node, self.output = node, output


def check_names(graph: Graph, limits: Limits) -> None:
    """Raises NameProblem at the first name that a text, or a PyTorch module, cannot have."""
    if not is_net_name(graph.name, limits):
        raise NameProblem(f"`{graph.name}` cannot name a network")
    for node in graph:
        problem = _step(node, limits) if node.inputs else _input(node.path, limits)
        if problem:
            raise NameProblem(problem, node=node.id)
    _inputs(graph)
    _namespaces(graph, limits)
    _outputs(graph, limits)


def is_net_name(name: str, limits: Limits) -> bool:
    """Whether a net can be called so."""
    return is_word(name, limits) and name not in catalogue()


def is_word(name: str, limits: Limits) -> bool:
    """Whether a declaration, an input or a wire can be called so."""
    fits = len(name) <= limits.identifier and _WORD.fullmatch(name)
    return bool(fits) and name not in keywords()


def is_label(name: str, limits: Limits) -> bool:
    """Whether a step or a namespace can be called so."""
    if not 0 < len(name) <= limits.identifier or not name.isascii() or is_reserved(name):
        return False
    written = label(name)
    return written.translate(_BRACES) == name and _LABEL.fullmatch(written) is not None


_BRACES = str.maketrans("", "", "{}")


def _step(node: Node, limits: Limits) -> str:
    """What is wrong with the path of a step; a join has none of its own in a text."""
    parts = node.path.split(".")
    if len(parts) > limits.path:
        return f"a path has at most {limits.path} levels, this has {len(parts)}"
    fits = node.op.join or is_label(parts[-1], limits)
    return "" if fits else f"`{parts[-1]}` cannot be a label"


def _input(name: str, limits: Limits) -> str:
    if name == "in" or (is_word(name, limits) and name != "self" and name not in catalogue()):
        return ""
    return f"`{name}` cannot name an input"


def _inputs(graph: Graph) -> None:
    seen: set[str] = set()
    for position, node in enumerate(graph.inputs):
        if node.path in seen or (node.path == "in" and position):
            raise NameProblem(f"two inputs are called `{node.path}`", node=node.id)
        seen.add(node.path)


def _namespaces(graph: Graph, limits: Limits) -> None:
    """What is a step is no namespace; what is a namespace is a label."""
    steps = [node for node in graph if node.inputs]
    modules = {node.path for node in steps if not node.op.join}
    known = {""}
    for node, inner in zip(steps, spaces(steps), strict=True):
        for space in (inner, *around(inner)) if inner not in known else ():
            if space in modules:
                raise NameProblem(f"`{space}` is a step and a namespace", node=node.id)
            if not is_label(space.rpartition(".")[2], limits):
                raise NameProblem(f"`{space}` cannot be a namespace", node=node.id)
        known.add(inner)


def _outputs(graph: Graph, limits: Limits) -> None:
    """Results come first and are fields of a tuple; a single one is called `out`."""
    results = [output for output in graph.outputs if not output.emitted]
    if not results:
        raise NameProblem("a network has a result that is not emitted")
    if graph.outputs[: len(results)] != tuple(results):
        raise NameProblem("results come before what is emitted", output=results[-1].name)
    for output in graph.outputs:
        if output.train and not output.emitted:
            raise NameProblem("only what is emitted is for training alone", output=output.name)
        if len(output.name) > limits.identifier or not _names_output(output.name, len(results)):
            raise NameProblem(f"`{output.name}` cannot name an output", output=output.name)
    if len(results) == 1 and results[0].name != "out":
        raise NameProblem("the only result is called `out`", output=results[0].name)


def _names_output(name: str, results: int) -> bool:
    """Whether a result or an emitted value can be called so; `in` is an input returned."""
    return (name == "in" and results > 1) or (is_field(name) and not is_reserved(name))


_ATTRIBUTES = frozenset(
    """
    T_destination _apply _backward_hooks _backward_pre_hooks _buffers _by_layers _call_impl _calls
    _compiled_call_impl _draw _forward_hooks _forward_hooks_always_called
    _forward_hooks_with_kwargs _forward_pre_hooks _forward_pre_hooks_with_kwargs
    _get_backward_hooks _get_backward_pre_hooks _get_name _given _in_eval _in_order _input_names
    _is_full_backward_hook _live _load_from_state_dict _load_state_dict_post_hooks
    _load_state_dict_pre_hooks _maybe_warn_non_full_backward_hook _modules _named_members
    _network _non_persistent_buffers_set _optimized _output _output_names _parameters _reads
    _register_load_state_dict_pre_hook _register_state_dict_hook
    _replicate_for_data_parallel _result _save_to_state_dict _slow_forward _state_dict_hooks
    _state_dict_pre_hooks _title _version _wrapped_call_impl _writes add_module apply
    bfloat16 buffers call_super_init children compile cpu cuda double dump_patches eval
    extra_repr float forward get_buffer get_extra_state get_parameter get_submodule half ipu
    load_state_dict modules mtia named_buffers named_children named_modules named_parameters
    parameters register_backward_hook register_buffer register_forward_hook
    register_forward_pre_hook register_full_backward_hook register_full_backward_pre_hook
    register_load_state_dict_post_hook register_load_state_dict_pre_hook register_module
    register_parameter register_state_dict_post_hook register_state_dict_pre_hook
    requires_grad_ set_extra_state set_submodule share_memory state_dict to to_empty train
    training type xpu zero_grad
    """.split()  # noqa: SIM905 - one to a line they would fill a page
)
"""What every PyTorch module has: a child of such a name could not be reached."""


def is_reserved(label: str) -> bool:
    """Whether no module can have this name."""
    return label in _ATTRIBUTES or label.startswith("__")


def is_field(name: str) -> bool:
    """Whether a named tuple can have a field of this name."""
    taken = keyword.iskeyword(name) or hasattr(tuple, name)
    return name.isidentifier() and not taken and not name.startswith("_")
