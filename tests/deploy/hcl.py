"""What a Terraform module says once its variables are known: as much of the language as the modules here use. Nothing of a provider is known: what only it
would know is given, or stands as `<type.name.attribute>`."""

import math
import re
from dataclasses import dataclass, field
from functools import cached_property

TOKEN = re.compile(r'\s*(?:(?P<number>\d+(?:\.\d+)?)|(?P<name>[A-Za-z_][\w-]*)|(?P<quote>")|(?P<sign>=>|==|!=|<=|>=|&&|\|\||\.\.\.|[^\s\w"]))')
LEVELS = [["||"], ["&&"], ["==", "!="], ["<", ">", "<=", ">="], ["+", "-"], ["*", "/", "%"]]
OPERATORS = {
    "||": lambda a, b: a or b,
    "&&": lambda a, b: a and b,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    ">": lambda a, b: a > b,
    "<=": lambda a, b: a <= b,
    ">=": lambda a, b: a >= b,
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "%": lambda a, b: a % b,
}


def same(value):
    return value


def replace(text, pattern, by):
    return re.sub(pattern[1:-1], by, text) if len(pattern) > 1 and pattern[0] == pattern[-1] == "/" else text.replace(pattern, by)


FUNCTIONS = {
    # Texts that are JSON or base64 are compared as what is in them.
    "jsonencode": same,
    "base64encode": same,
    "toset": same,
    "concat": lambda *lists: [one for each in lists for one in each],
    "merge": lambda *maps: {name: value for each in maps for name, value in each.items()},
    "distinct": lambda values: list(dict.fromkeys(values)),
    "floor": math.floor,
    "join": lambda by, values: by.join(values),
    "keys": sorted,
    "length": len,
    "one": lambda values: values[0] if values else None,
    "range": lambda end: list(range(end)),
    "replace": replace,
    "slice": lambda values, start, end: values[start:end],
    "split": lambda by, text: text.split(by),
    "substr": lambda text, start, length: text[start : start + length],
    "tonumber": int,
    "tostring": str,
    "upper": str.upper,
    "values": lambda each: [each[name] for name in sorted(each)],
}


class Unknown(Exception):
    """What is asked for is not there."""


@dataclass
class Module:
    """The blocks of a module's files, its variables, and what its provider and its account would say."""

    resources: dict
    data: dict
    locals: dict
    variables: dict = field(default_factory=dict)
    known: dict = field(default_factory=dict)

    def resource(self, name) -> dict:
        """The arguments of a resource, or of each one where it is made for each of something."""
        block = self.resources[name]
        assert self.count(name), f"{name} is not made"
        arguments = {key: value for key, value in block.items() if key not in ("count", "for_each", "depends_on", "lifecycle")}
        if "for_each" not in block:
            return self.value(arguments)
        each = self.value(block["for_each"])
        each = each if isinstance(each, dict) else {one: one for one in each}
        return {key: self.value(arguments, {"each": {"key": key, "value": value}}) for key, value in each.items()}

    def count(self, name) -> int:
        return self.value(self.resources[name].get("count", 1))

    def value(self, given, names=None):
        """What an argument comes to."""
        if isinstance(given, list):
            return [self.value(one, names) for one in given]
        if isinstance(given, dict):
            return {key: self.value(one, names) for key, one in given.items()}
        return Text(self, names or {}, given).whole() if isinstance(given, str) else given

    def look_up(self, name, names):
        if name in names:
            return names[name]
        if name == "var":
            return self.variables
        if name == "local":
            return Lazy({key: (lambda value=value: self.value(value)) for key, value in self.locals.items()})
        if name == "data":
            return Kinds(self, "data.")
        if name.startswith("aws_"):
            return Kinds(self, "").attribute(name)
        return {"true": True, "false": False, "null": None, "path": {"module": "<path>"}}[name]

    def policy(self, name) -> dict:
        """The document of a data source."""
        block = self.data[f"aws_iam_policy_document.{name}"]
        statements = [self.value(one) for one in block["statement"]]
        for dynamic in block.get("dynamic", []):
            for one in self.value(dynamic["statement"]["for_each"]):
                statements += [self.value(content, {"statement": {"value": one}}) for content in dynamic["statement"]["content"]]
        return {"Version": "2012-10-17", "Statement": [statement(one) for one in statements]}


def statement(block) -> dict:
    made = {"Effect": block.get("effect", "Allow"), "Action": block["actions"]}
    if "sid" in block:
        made["Sid"] = block["sid"]
    if "resources" in block:
        made["Resource"] = block["resources"]
    for one in block.get("principals", []):
        made["Principal"] = "*" if one["type"] == "*" else {one["type"]: one["identifiers"]}
    for one in block.get("condition", []):
        made.setdefault("Condition", {}).setdefault(one["test"], {})[one["variable"]] = one["values"]
    return made


@dataclass
class Lazy:
    """Things that are worked out when they are asked for."""

    of: dict

    def attribute(self, name):
        return self.of[name]()


@dataclass
class Kinds:
    """Resources or data sources of a module, by their type and name."""

    module: Module
    path: str

    def attribute(self, name):
        path = f"{self.path}{name}"
        return Reference(self.module, path) if path.removeprefix("data.").count(".") else Kinds(self.module, f"{path}.")


@dataclass
class Reference:
    """A resource that is spoken of."""

    module: Module
    path: str

    @cached_property
    def block(self):
        return self.module.resources.get(self.path) or {}

    def attribute(self, name):
        whole = f"{self.path}.{name}"
        if whole in self.module.known:
            return self.module.known[whole]
        if name == "json":
            return self.module.policy(self.path.rsplit(".", 1)[1])
        return self.module.value(self.block[name]) if name in self.block else f"<{whole}>"

    def all(self):
        return [self] * (self.module.count(self.path) if self.path in self.module.resources else 1)


@dataclass
class Text:
    """One text, which is an expression or has some in it."""

    module: Module
    names: dict
    text: str
    at: int = 0

    def whole(self):
        """Text with `${…}` in it; of one such alone its value, whatever that is."""
        parts = []
        while self.at < len(self.text):
            if self.text.startswith("${", self.at):
                self.at += 2
                parts.append(self.expression())
                self.expect("}")
            else:
                end = self.text.find("${", self.at)
                parts.append(self.text[self.at : end if end >= 0 else None])
                self.at += len(parts[-1])
        return parts[0] if len(parts) == 1 else "".join(map(str, parts))

    def peek(self):
        found = TOKEN.match(self.text, self.at)
        return (found.lastgroup, found[found.lastgroup], found.end()) if found else ("end", "", self.at)

    def take(self, wanted=None):
        kind, text, end = self.peek()
        if wanted is not None and text != wanted:
            return None
        self.at = end
        return kind, text

    def expect(self, sign):
        assert self.take(sign), f"{sign!r} is missing at {self.text[self.at : self.at + 60]!r}"

    def expression(self):
        decided = self.binary(0)
        if not self.take("?"):
            return decided
        # Both are read, and only the one that counts need have an answer.
        first = self.attempt()
        self.expect(":")
        second = self.attempt()
        chosen = first if decided else second
        if isinstance(chosen, Exception):
            raise chosen
        return chosen

    def attempt(self):
        begin = self.at
        try:
            return self.expression()
        except (KeyError, TypeError, IndexError, AttributeError, Unknown) as error:
            self.at = begin
            self.skip()
            return error

    def skip(self):
        """Over an expression that has no answer."""
        depth = 0
        while True:
            kind, text, end = self.peek()
            if kind == "end" or (depth == 0 and text in (",", ")", "]", "}", ":")):
                return
            depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(text, 0)
            self.at = end
            if kind == "quote":
                self.quoted_raw()

    def binary(self, level):
        if level == len(LEVELS):
            return self.unary()
        left = self.binary(level + 1)
        while self.peek()[1] in LEVELS[level]:
            sign = self.take()[1]
            left = OPERATORS[sign](left, self.binary(level + 1))
        return left

    def unary(self):
        if self.take("!"):
            return not self.unary()
        return self.postfix(self.primary())

    def postfix(self, value):
        while True:
            if self.take("."):
                value = self.attribute(value, self.take()[1])
            elif self.take("["):
                if self.take("*"):
                    self.expect("]")
                    return self.splat(value)
                index = self.expression()
                self.expect("]")
                value = value if isinstance(value, Reference) else value[index]
            else:
                return value

    def splat(self, value):
        values = value.all() if isinstance(value, Reference) else value
        while self.take("."):
            name = self.take()[1]
            values = [self.attribute(one, name) for one in values]
        return values

    @staticmethod
    def attribute(value, name):
        return value[name] if isinstance(value, dict) else value.attribute(name)

    def primary(self):
        kind, text = self.take()
        if kind == "number":
            return float(text) if "." in text else int(text)
        if kind == "quote":
            return self.module.value(self.quoted_raw(), self.names)
        if text == "(":
            value = self.expression()
            self.expect(")")
            return value
        if text == "[":
            return self.listed()
        if text == "{":
            return self.object()
        assert kind == "name", f"{text!r} is not understood in {self.text[self.at - 20 : self.at + 40]!r}"
        return self.call(text) if self.take("(") else self.module.look_up(text, self.names)

    def quoted_raw(self):
        """To the closing quote, which one in an expression of its own is not."""
        begin, depth = self.at, 0
        while True:
            if self.text.startswith("${", self.at):
                depth += 1
                self.at += 2
            elif depth and self.text[self.at] in "{}":
                depth += 1 if self.text[self.at] == "{" else -1
                self.at += 1
            elif depth and self.text[self.at] == '"':
                self.at += 1
                self.quoted_raw()
            elif self.text[self.at] == "\\":
                self.at += 2
            elif self.text[self.at] == '"':
                self.at += 1
                return self.text[begin : self.at - 1].replace('\\"', '"')
            else:
                self.at += 1

    def call(self, name):
        if name == "try":
            given = [self.attempt()]
            while self.take(","):
                given.append(self.attempt())
            self.expect(")")
            return next(one for one in given if not isinstance(one, Exception))
        given = []
        while not self.take(")"):
            given.append(self.expression())
            self.take(",")
        return FUNCTIONS[name](*given)

    def listed(self):
        if self.take("for"):
            return [value for _, value in self.each("]")]
        values = []
        while not self.take("]"):
            values.append(self.expression())
            self.take(",")
        return values

    def object(self):
        if self.take("for"):
            return dict(self.each("}"))
        made = {}
        while not self.take("}"):
            kind, text = self.take()
            key = self.quoted_raw() if kind == "quote" else text
            assert self.take("=") or self.take(":"), f"no value of {key}"
            made[key] = self.expression()
            self.take(",")
        return made

    def each(self, close):
        """What a `for` makes, as pairs."""
        first, second = self.take()[1], None
        if self.take(","):
            second = self.take()[1]
        self.expect("in")
        over = self.expression()
        self.expect(":")
        body, found = self.at, []
        pairs = list(over.items() if isinstance(over, dict) else enumerate(over))
        for key, value in pairs:
            names = {first: key, second: value} if second else {first: value}
            inner = Text(self.module, self.names | names, self.text, body)
            made = inner.expression()
            pair = (made, inner.expression()) if inner.take("=>") else (key, made)
            if not inner.take("if") or inner.expression():
                found.append(pair)
            self.at = inner.at
        if not pairs:
            while self.peek()[1] != close:
                self.skip()
                if self.peek()[1] != close:
                    self.take()
        self.expect(close)
        return found
