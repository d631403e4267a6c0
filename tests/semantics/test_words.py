"""Words that an operator's parameter takes: all are told, and a slip of one is mended."""

from __future__ import annotations

import pytest

import cnndsl

NET = "net N: [3, H, W] = "


@pytest.mark.parametrize(
    ("body", "near", "remark"),
    [
        ("upsample(2, mode=nearst)", "nearest", "`mode` of `upsample` takes nearest or bilinear"),
        ("upsample(2, bilinaer)", "bilinear", "`mode` of `upsample` takes nearest or bilinear"),
        ("upsample(2, mode=bicubic)", None, "`mode` of `upsample` takes nearest or bilinear"),
        ("upsample(2, mode=nearest-exact)", None, "`mode` of `upsample` takes nearest or bilinear"),
        ("droppath(0.5, mode=netwrok)", "network", "`mode` of `droppath` takes row or batch "
         "or network"),
        ("upsample(2, mode=nowhere)", None, "`mode` of `upsample` takes nearest or bilinear"),
    ],
)  # fmt: skip
def test_a_word_that_no_parameter_takes(body: str, near: str | None, remark: str) -> None:
    (found,) = cnndsl.loads(NET + body).diagnostics
    assert found.code == "E0201" and remark in found.notes
    assert found.message.endswith(f"did you mean `{near}`?" if near else "`")
    assert [fix.edits[0].text for fix in found.fixes] == ([near] if near else [])
    assert all(fix.checked for fix in found.fixes)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("upsample(2, mode=row)", "nearest"),
        ("upsample(2, align_corners=yes)", "`align_corners` needs `mode=bilinear`"),
        ("upsample(2, mode=nearest, align_corners=yes)", "`align_corners` needs `mode=bilinear`"),
    ],
)
def test_words_that_do_not_fit(body: str, said: str) -> None:
    (found,) = cnndsl.loads(NET + body).diagnostics
    assert found.code.startswith("E03") and said in found.message
    assert not cnndsl.loads(NET + "upsample(2, mode=bilinear, align_corners=yes)").diagnostics
