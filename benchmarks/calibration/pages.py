"""Tables of a page that a benchmark writes itself."""

from pathlib import Path


def put_into_page(page: Path, place: str, text: str) -> None:
    """Replace what stands between the page's marks of that name. Ends the program where it has none."""
    before, mark, rest = page.read_text(encoding="utf-8").partition(f"<!-- {place} -->\n")
    _, end, after = rest.partition(f"<!-- end of {place} -->")
    if not (mark and end):
        raise SystemExit(f"{page} has no place for {place}")
    page.write_text(f"{before}{mark}{text}\n{end}{after}", encoding="utf-8")
