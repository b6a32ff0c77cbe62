"""Conditions over named values, as `exclude:` and `--where` write them: `prune.rule == "none" or kept < 0.5`.

The grammar is a small part of Python's, read with `ast` and turned into functions; nothing is ever evaluated as
Python. Allowed are dotted names, numbers, text, lists, `true`, `false`, `null`, comparisons (chained ones too),
`in`, `and`, `or`, `not`, `+ - * / // %` and parentheses.

A name that has no value is `null`. Values that have no order (`null`, text against a number) are neither below nor
above each other, and arithmetic with `null` gives `null`, so that a condition on what is not there does not hold.
"""

from __future__ import annotations

import ast
import difflib
import functools
import operator
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sweeps.errors import SweepError

Values = Mapping[str, Any]
Evaluate = Callable[[Values], Any]

# Beyond any condition a person writes, and far from what would exhaust Python's stack.
LONGEST, DEEPEST = 2000, 100
CONSTANTS = {"true": True, "false": False, "null": None, "True": True, "False": False, "None": None}


class ExpressionError(SweepError, ValueError):
    """An expression that can not be read, or does not fit the values; names the expression and the position."""


@dataclass(frozen=True)
class Expression:
    """A condition that has been read.

    Attributes:
        text: As it was written.
        names: Dotted names it looks at.
    """

    text: str
    names: frozenset[str]
    _evaluate: Evaluate = field(repr=False, compare=False)
    _orders: tuple[_Order, ...] = field(default=(), repr=False, compare=False)

    def __call__(self, values: Values) -> bool:
        """Whether the condition holds; a name that is missing counts as `null`.

        Raises:
            ExpressionError: Arithmetic with something that is not a number.
        """
        return bool(self._evaluate(values))

    def require_order(self, samples: Iterable[Values]) -> None:
        """Refuse a comparison by size that can hold for none of these values: text against a number.

        What is `null` in all of them is let pass: a name may have a value elsewhere.

        Raises:
            ExpressionError: Names the comparison and two values that have no order.
        """
        given = list(samples)
        for order in self._orders:
            found = [
                (left, right) for left, right in map(order.sides, given) if not (left is None or right is None)
            ]
            if found and not any(_are_alike(left, right) for left, right in found):
                left, right = found[0]
                raise order.refusal(f"compares {left!r} with {right!r}, and neither is above the other")


@dataclass(frozen=True)
class _Order:
    """A comparison by size.

    Attributes:
        left: One side.
        right: The other.
        refusal: Makes an error that says where it is.
    """

    left: Evaluate
    right: Evaluate
    refusal: Callable[[str], ExpressionError]

    def sides(self, values: Values) -> tuple[Any, Any]:
        """Both values; nothing where they can not be had."""
        try:
            return self.left(values), self.right(values)
        except ExpressionError:
            return None, None  # told where the condition is evaluated


def parse(text: str, known_names: Collection[str]) -> Expression:
    """Read a condition over `known_names`.

    Raises:
        ExpressionError: Not a condition of this grammar, or a name that is not known; lists the known ones.
    """
    text = text.strip().replace("\n", " ")  # a folded YAML text may have line breaks
    if not 1 <= len(text) <= LONGEST:
        raise ExpressionError(f"a condition has 1 to {LONGEST} characters; got {len(text)}")
    try:
        tree = ast.parse(text, mode="eval").body
    except SyntaxError as error:
        raise ExpressionError(f"{_where(text, error.offset or 1)}: is not a condition ({error.msg})") from None
    except (RecursionError, MemoryError, ValueError) as error:
        raise ExpressionError(f"{text!r} is not a condition ({error})") from None
    if _depth(tree) > DEEPEST:
        raise ExpressionError(f"{text!r} is nested more than {DEEPEST} levels deep")
    reader = _Reader(text, known_names)
    evaluate = reader.condition(tree)
    return Expression(text, frozenset(reader.names), evaluate, tuple(reader.orders))


def _where(text: str, position: int) -> str:
    return f"{text!r}, at character {position}"


def _depth(tree: ast.expr) -> int:
    """Levels of a tree, counted without recursion."""
    level: list[ast.AST] = [tree]
    depth = 0
    while level:
        level = [child for node in level for child in ast.iter_child_nodes(node)]
        depth += 1
    return depth


class _Reader:
    """Turns the parts of one expression into functions of the values."""

    def __init__(self, text: str, known: Collection[str]) -> None:
        self.text, self.known = text, known
        self.names: set[str] = set()
        self.orders: list[_Order] = []

    def condition(self, node: ast.expr) -> Evaluate:
        """What is true or false: a comparison, a combination of conditions, or a name."""
        match node:
            case ast.BoolOp(op, parts):
                conditions = tuple(map(self.condition, parts))
                every = isinstance(op, ast.And)
                return lambda values: (all if every else any)(part(values) for part in conditions)
            case ast.UnaryOp(ast.Not(), inner):
                negated = self.condition(inner)
                return lambda values: not negated(values)
            case ast.Compare():
                return self._comparison(node)
            case ast.Name() | ast.Attribute() | ast.Constant(True) | ast.Constant(False):
                return self._value(node)
        raise self._refusal(node, "is a value, not a condition; compare it with something")

    def _comparison(self, node: ast.Compare) -> Evaluate:
        values = [self._value(part) for part in (node.left, *node.comparators)]
        for op, right in zip(node.ops, node.comparators, strict=True):
            if type(op) not in _COMPARISONS:
                raise self._refusal(right, "is compared with `is`; use == or !=")
        pairs = [
            (_COMPARISONS[type(op)], left, right)
            for op, left, right in zip(node.ops, values, values[1:], strict=False)
        ]
        self.orders += [
            _Order(left, right, functools.partial(self._refusal, node))
            for op, left, right in zip(node.ops, values, values[1:], strict=False)
            if isinstance(op, _BY_SIZE)
        ]
        return lambda given: all(holds(left(given), right(given)) for holds, left, right in pairs)

    def _value(self, node: ast.expr) -> Evaluate:
        match node:
            case ast.Constant(value) if value is None or isinstance(value, bool | int | float | str):
                return lambda _: value
            case ast.Name(name) if name in CONSTANTS and name not in self.known:
                constant = CONSTANTS[name]
                return lambda _: constant
            case ast.Name() | ast.Attribute():
                return self._name(node)
            case ast.List(parts) | ast.Tuple(parts):
                items = tuple(map(self._value, parts))
                return lambda values: [item(values) for item in items]
            case ast.UnaryOp(ast.USub(), inner):
                return self._arithmetic(node, operator.sub, ast.Constant(0), inner)
            case ast.BinOp(left, op, right) if type(op) in _ARITHMETIC:
                return self._arithmetic(node, _ARITHMETIC[type(op)], left, right)
            case ast.Compare() | ast.BoolOp() | ast.UnaryOp(ast.Not()):
                return self.condition(node)
        raise self._refusal(node, "is not allowed; use names, numbers, text, lists, comparisons, in, and, or, not")

    def _name(self, node: ast.expr) -> Evaluate:
        parts: list[str] = []
        part = node
        while isinstance(part, ast.Attribute):
            parts.append(part.attr)
            part = part.value
        if not isinstance(part, ast.Name):
            raise self._refusal(node, "is not a dotted name")
        name = ".".join((part.id, *reversed(parts)))
        if name not in self.known:
            close = difflib.get_close_matches(name, self.known, n=1)
            hint = f"did you mean {close[0]}? " if close else ""
            raise self._refusal(node, f"is not known here; {hint}known: {', '.join(sorted(self.known)) or 'none'}")
        self.names.add(name)
        return lambda values: values.get(name)

    def _arithmetic(
        self, node: ast.expr, operation: Callable[[Any, Any], Any], left: ast.expr, right: ast.expr
    ) -> Evaluate:
        first, second = self._value(left), self._value(right)

        def evaluate(values: Values) -> Any:
            a, b = first(values), second(values)
            if a is None or b is None:
                return None
            for value in (a, b):
                if not _is_number(value):
                    raise self._refusal(node, f"is arithmetic with {value!r}, which is not a number")
            try:
                return operation(a, b)
            except (ZeroDivisionError, OverflowError):
                return None

        return evaluate

    def _refusal(self, node: ast.expr, why: str) -> ExpressionError:
        before = self.text.encode()[: node.col_offset].decode()  # `ast` counts bytes
        return ExpressionError(f"{_where(self.text, len(before) + 1)}: {ast.unparse(node)} {why}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _ordered(holds: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    """An order for numbers among themselves and for text among itself; anything else has none."""

    def compare(left: Any, right: Any) -> bool:
        return _are_alike(left, right) and holds(left, right)

    return compare


def _are_alike(left: Any, right: Any) -> bool:
    return (_is_number(left) and _is_number(right)) or (isinstance(left, str) and isinstance(right, str))


def _equal(left: Any, right: Any) -> bool:
    """Equality, except that `true` is not 1."""
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)


def _inside(left: Any, right: Any) -> bool:
    if isinstance(right, str):
        return isinstance(left, str) and left in right
    return isinstance(right, list | tuple) and any(_equal(left, item) for item in right)


_BY_SIZE = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)
_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: _equal,
    ast.NotEq: lambda left, right: not _equal(left, right),
    ast.Lt: _ordered(operator.lt),
    ast.LtE: _ordered(operator.le),
    ast.Gt: _ordered(operator.gt),
    ast.GtE: _ordered(operator.ge),
    ast.In: _inside,
    ast.NotIn: lambda left, right: not _inside(left, right),
}
_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
