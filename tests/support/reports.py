"""An evaluation that never was, and a reader of the pages that are made of it."""

import html.parser
import json
import re

NASTY = '<b>&".jpg'
STEPS = {
    "photograph": [0],
    "style picture": [0],
    "ours": [0, 1, 9, 20],
    "gatys": [10, 100],
    "lite": [0],
    "$_{{rows}}": [5],
}
PAIRS = 4


class Reader(html.parser.HTMLParser):
    """What is in a page: the text that is seen, tags with their attributes, elements that are still open."""

    VOID = {"meta", "img", "input", "link", "br"}

    def __init__(self, page):
        super().__init__()
        self.text, self.tags, self.open = [], [], []
        self.feed(page)
        self.text = " ".join(self.text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, "every element is closed, in order"

    def handle_data(self, data):
        if not {"script", "style"} & set(self.open):
            self.text.append(data)

    def all(self, tag, key):
        return [attrs[key] for name, attrs in self.tags if name == tag and key in attrs]


def data_of(ballot):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', ballot, re.DOTALL)[1])
