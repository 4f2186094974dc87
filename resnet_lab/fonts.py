"""The fonts that drawings are set in: Latin, Greek and Cyrillic, and for names in Chinese or Japanese what the machine has, or the extra `fonts` brings."""

import importlib.util
from pathlib import Path

from matplotlib import font_manager


def font_families() -> list[str]:
    """Font names in the order in which a missing glyph is looked for: Latin, Greek and Cyrillic first, then Chinese and Japanese."""
    package = importlib.util.find_spec(_FONT_PACKAGE)
    installed = set(font_manager.fontManager.get_font_names())
    if package and package.origin and _FONT_NAME not in installed:
        font_manager.fontManager.addfont(Path(package.origin).parent / _FONT_FILE)
        installed.add(_FONT_NAME)
    return ["DejaVu Sans", *(name for name in _FALLBACKS if name in installed)]


_FONT_PACKAGE, _FONT_FILE, _FONT_NAME = "pylopdf_fonts_zh_cn", "NotoSansSC-Regular.otf", "Noto Sans SC"
"""A data-only package with Noto Sans SC (SIL Open Font License): Chinese and Japanese on machines that have no such font (pip install 'resnet_lab[fonts]')."""
_FALLBACKS = (
    _FONT_NAME, "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans KR", "Noto Sans CJK KR", "Source Han Sans SC", "Source Han Sans CN",
    "WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "PingFang SC", "Hiragino Sans GB", "Microsoft YaHei", "Malgun Gothic", "Arial Unicode MS",
)  # fmt: skip
