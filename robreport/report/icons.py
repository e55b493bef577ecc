"""The seven status icons: drawings of 16 by 16, told apart by shape, not by colour."""

from __future__ import annotations

from robreport.outcome import Status

COLORS: dict[Status, str] = {
    Status.PASS: "#1D6B39",
    Status.WARN: "#8A4300",
    Status.FAIL: "#A12218",
    Status.INCONCLUSIVE: "#6B5500",
    Status.ERROR: "#8A1F57",
    Status.NOT_RUN: "#4A5264",
    Status.INFO: "#24509C",
}

_LINES: dict[Status, str] = {
    Status.PASS: "M3 8.6l3.4 3.4L13 4.6",
    Status.WARN: "M8 2.4L14.4 13.6H1.6zM8 6.6v3.2M8 11.7v.1",
    Status.FAIL: "M4 4l8 8M12 4l-8 8",
    Status.INCONCLUSIVE: "M5.3 5.6a2.7 2.7 0 1 1 4.2 2.3C8.5 8.5 8 8.9 8 9.9M8 12.8v.1",
    Status.ERROR: "M8.9 1.8L4.2 9h3.4l-.5 5.2L11.8 7H8.4z",
    Status.NOT_RUN: "M3.5 8h9",
    Status.INFO: "M8 7.4v5.2M8 4.1v.1",
}


def shape(status: Status, color: str = "currentColor") -> str:
    """Return the inside of the icon's SVG."""
    width = "1.6" if status in (Status.WARN, Status.ERROR) else "2.2"
    return (
        f'<path d="{_LINES[status]}" fill="none" stroke="{color}" stroke-width="{width}" '
        'stroke-linecap="round" stroke-linejoin="round"/>'
    )


def drawing(status: Status) -> str:
    """Return the icon as an SVG in its own colour."""
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" width="16" height="16" viewBox="0 0 16 16">'
        f"{shape(status, COLORS[status])}</svg>"
    )
