"""Reads a postern.conf (libconfig) as far as the oracle needs it."""

import re

_TOKEN = re.compile(r'\s+|//[^\n]*|#[^\n]*|/\*.*?\*/|("(?:[^"\\]|\\.)*")|([A-Za-z][\w-]*)|'
                    r'([-+]?0x[0-9a-fA-F]+L*|[-+]?\d+\.\d*|[-+]?\d+L*)|([=:;,{}()\[\]])', re.DOTALL)


def _tokens(text):
    at, found = 0, []
    while at < len(text):
        match = _TOKEN.match(text, at)
        if not match:
            raise ValueError(f"no libconfig at: {text[at:at + 30]!r}")
        at = match.end()
        string, name, number, sign = match.groups()
        if string:
            found.append(("value", string[1:-1].replace('\\"', '"').replace("\\\\", "\\")))
        elif name and name.lower() in ("true", "false"):
            found.append(("value", name.lower() == "true"))
        elif name:
            found.append(("name", name))
        elif number:
            number = number.rstrip("L")
            found.append(("value", float(number) if "." in number else int(number, 0)))
        elif sign:
            found.append(("sign", sign))
    return found


class _Reader:

    def __init__(self, text):
        self.tokens = _tokens(text) + [("end", "")]
        self.at = 0

    def take(self):
        self.at += 1
        return self.tokens[self.at - 1]

    def settings(self, closing):
        result = {}
        while self.tokens[self.at] != closing:
            kind, name = self.take()
            if kind == "sign" and name in ";,":
                continue
            assert kind == "name", name
            assert self.take()[1] in "=:"
            result[name] = self.value()
        self.take()
        return result

    def value(self):
        kind, value = self.take()
        if kind == "value":
            if isinstance(value, str):
                while self.tokens[self.at][0] == "value":
                    value += self.take()[1]
            return value
        if value == "{":
            return self.settings(("sign", "}"))
        closing = ("sign", {"(": ")", "[": "]"}[value])
        result = []
        while self.tokens[self.at] != closing:
            if self.tokens[self.at] == ("sign", ","):
                self.take()
            else:
                result.append(self.value())
        self.take()
        return result


def parse(text):
    return _Reader(text).settings(("end", ""))
