"""Reads the QR code in an SVG document as a camera does: the document becomes pixels for a decoder."""

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass

import zxingcpp

SVG = "{http://www.w3.org/2000/svg}"
PIXELS = 4  # the side of a module
WHITE, BLACK = 255, 0
_STROKE = re.compile(r"([Mm])(-?\d+) (-?\d+(?:\.5)?)h(\d+)")


@dataclass(frozen=True)
class Drawing:
    """An SVG document with one white and one black path. modules: row by row, True where it is black."""

    root: ElementTree.Element
    background: ElementTree.Element
    foreground: ElementTree.Element
    modules: list[list[bool]]


def drawing(svg: str) -> Drawing:
    """Return what a document draws. The parser refuses a document that is not well-formed XML."""
    root = ElementTree.fromstring(svg)  # noqa: S314 - the document of our own service
    background, foreground = root
    size = int(root.attrib["viewBox"].split()[-1])
    return Drawing(root, background, foreground, _modules(foreground.attrib["d"], size))


def read(svg: str) -> str:
    """Return the text of the QR code in a document."""
    rows = drawing(svg).modules
    side = len(rows) * PIXELS
    pixels = b"".join(
        bytes(BLACK if is_black else WHITE for is_black in row for _ in range(PIXELS)) * PIXELS
        for row in rows
    )
    barcode = zxingcpp.read_barcode(memoryview(pixels).cast("B", (side, side)))
    assert barcode is not None, "nothing to read"
    assert barcode.format == zxingcpp.BarcodeFormat.QRCode
    return str(barcode.text)


def _modules(path: str, size: int) -> list[list[bool]]:
    """Return the modules that a path of horizontal strokes covers. Each stroke is one module high."""
    assert re.fullmatch(f"(?:{_STROKE.pattern})+", path), "a path of other strokes"
    modules = [[False] * size for _ in range(size)]
    column, middle = 0, 0.0
    for move, right, down, length in _STROKE.findall(path):
        begin = int(right) + (column if move == "m" else 0)
        middle = float(down) + (middle if move == "m" else 0)
        column = begin + int(length)
        modules[int(middle)][begin:column] = [True] * int(length)
    assert {len(row) for row in modules} == {size}, "a stroke beyond the drawing"
    return modules
