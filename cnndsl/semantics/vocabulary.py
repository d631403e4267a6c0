"""Words that parameters take as values, and words that no label can be."""

from __future__ import annotations

import keyword
from functools import lru_cache

from cnndsl.ops import catalogue


@lru_cache(maxsize=1)
def words() -> frozenset[str]:
    """Every choice of every operator's parameters, such as ``row``; and ``auto``."""
    found = {"auto"}
    for op in catalogue().values():
        for declared in op.params.values():
            found.update(declared.choices)
    return frozenset(found)


_ATTRIBUTES = frozenset(
    """
    T_destination _apply _backward_hooks _backward_pre_hooks _buffers _call_impl _calls
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
