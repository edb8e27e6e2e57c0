"""Reads a page as a browser would, strictly: every tag closed, nothing asked for from outside."""

from __future__ import annotations

import re
from html.parser import HTMLParser

VOID = {"meta", "link", "img", "br", "hr", "input"}
LOADING = {"src", "href", "xlink:href", "srcset", "action", "poster", "data", "background", "formaction"}


class ReadPage(HTMLParser):
    """A page taken apart; raises `AssertionError` where tags do not match."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.size = len(text.encode())
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self.styles = ""
        self.script = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> without a beginning"
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "script":
            self.script += data
        elif self._open and self._open[-1] == "style":
            self.styles += data
        else:
            self.text += data

    def values(self, name: str) -> list[str]:
        """Return all values of an attribute."""
        return [value for _, attribute, value in self.attributes if attribute == name]

    def outside(self) -> list[str]:
        """Return everything that a browser would ask for from outside the page."""
        found = [value for _, name, value in self.attributes
                 if name in LOADING and not value.startswith(("data:", "#"))]  # fmt: skip
        css = self.styles + " ".join(self.values("style"))
        found += [url for url in re.findall(r"url\(\s*['\"]?([^)'\"]*)", css) if not url.startswith(("data:", "#"))]
        found += re.findall(r"@import[^;]*", css)
        return found

    def handlers(self) -> list[str]:
        """Return all attributes that would run code."""
        return [name for _, name, value in self.attributes if name.startswith("on") or "javascript:" in value]


def read(text: str) -> ReadPage:
    """Return a page taken apart, checked for what every page must be."""
    page = ReadPage(text)
    assert page.outside() == []
    assert page.handlers() == []
    assert page.tags.count("script") == 1
    assert all(value.startswith("data:image/") for tag, name, value in page.attributes if (tag, name) == ("img", "src"))
    return page
