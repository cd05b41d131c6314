"""Expressions, strings and comments as C: the only file that knows how operations look there."""

from __future__ import annotations

import re

from codegen import ir
from codegen.dtypes import c_type, literal
from codegen.operations import (
    ASSIGNMENT,
    CONDITIONAL,
    EQUALITY,
    POSTFIX,
    RELATION,
    UNARY,
    Function,
    Infix,
    Prefix,
    Spelling,
    conversion,
    identity,
    spelling,
)
from codegen.visit import walk


def comment(text: str) -> str:
    """A C comment of one or more lines, of any text: nothing in it ends the comment, is a trigraph or no plain ASCII.
    """
    text = text.replace("\N{HORIZONTAL ELLIPSIS}", "...")
    safe = "".join(c if c == "\n" or (c.isprintable() and c.isascii()) else _escaped(c) for c in text)
    safe = re.sub(r"\?(?=\?)", "? ", safe.replace("*/", "* /").replace("/*", "/ *"))
    lines = [line.rstrip(" \\") for line in safe.split("\n")]
    return "\n".join(["/* " + lines[0], *(f"   {line}".rstrip() for line in lines[1:])]) + " */"


def string(text: str) -> str:
    """A C string constant of any text, by its UTF-8 bytes."""
    plain = (
        set(map(ord, " !#$%&'()*+,-./:;<=>@[]^_{|}~")) | set(range(48, 58)) | set(range(65, 91)) | set(range(97, 123))
    )
    return '"' + "".join(chr(byte) if byte in plain else f"\\{byte:03o}" for byte in text.encode()) + '"'


def _escaped(character: str) -> str:
    return " " if character == "\t" else f"<U+{ord(character):04X}>"


# -- expressions


def expression(e: ir.Expr) -> str:
    """An expression in C."""
    return _expr(e)[0]


def _expr(e: ir.Expr) -> tuple[str, int]:
    """The text of an expression and how tightly it binds."""
    match e:
        case ir.Literal(dtype, value):
            text = literal(dtype, value)
            return text, UNARY if text.startswith("-") else POSTFIX
        case ir.Var(_, name):
            return name, POSTFIX
        case ir.Load(dtype, buffer, offset):
            element = f"{buffer.name}[{expression(offset)}]"
            return (f"{element} != 0", EQUALITY) if dtype == "bool" else (element, POSTFIX)
        case ir.Cast(dtype, arg):
            return _cast(dtype, arg)
        case ir.Select(_, condition, then, otherwise):
            test, first = inside(condition, EQUALITY), inside(then, CONDITIONAL + 1)  # `a & b ? …` may surprise
            return f"{test} ? {first} : {inside(otherwise, CONDITIONAL)}", CONDITIONAL
        case ir.Operation():
            return _operation(e)
    raise TypeError(f"{type(e).__name__} should have been lowered before printing")


def inside(e: ir.Expr, tightest: int) -> str:
    """An expression as a part of another that binds its parts so tightly."""
    text, precedence = _expr(e)
    return f"({text})" if precedence < tightest else text


def _operation(e: ir.Operation) -> tuple[str, int]:
    ctype = c_type(e.dtype)
    match spelled_as(e):
        case Infix(symbol, precedence, operands, promotes):
            left, right = e.args
            first = f"({ctype.name}){inside(left, UNARY)}" if _is_int(e) else inside(left, operands)
            if first.startswith("!"):
                first = f"({first})"  # gcc warns of `!a | (b & c)`
            text = f"{first} {symbol} {inside(right, max(operands, precedence + 1))}"
            return (f"({ctype.name})({text})", UNARY) if promotes else (text, precedence)
        case Prefix("!") if isinstance(e.args[0], ir.Load):
            return expression(e.args[0]).removesuffix("!= 0") + "== 0", EQUALITY
        case Prefix(symbol, promotes):
            inner = f"({ctype.name})" * _is_int(e) + inside(e.args[0], UNARY)
            text = f"{symbol}({inner})" if inner.startswith(symbol) else f"{symbol}{inner}"
            return (f"({ctype.name})({text})", UNARY) if promotes else (text, UNARY)
        case Function(name):
            return f"{name}({', '.join(inside(a, ASSIGNMENT) for a in e.args)})", POSTFIX
    raise TypeError(f"no way to write {e.name}")


def spelled_as(e: ir.Operation) -> Spelling:
    """How an operation is written: as the table says, but by a function where compilers would have a warning for it."""
    dtype = e.args[0].dtype
    spelled = spelling(e.name, dtype)
    t, name = c_type(dtype), f"sg_{e.name}_{c_type(dtype).suffix}"
    match spelled:
        case Infix(symbol, precedence) if t.kind != "f" and precedence in (RELATION, EQUALITY):
            if not _is_plain_comparison(e, is_equality=precedence == EQUALITY):
                text = f"static inline bool {name}({t.name} a, {t.name} b)\n{{\n    return a {symbol} b;\n}}"
                return Function(name, text)
        case Prefix("~") if isinstance(e.args[0], ir.Cast):
            return Function(name, f"static inline {t.name} {name}({t.name} a)\n{{\n    return ({t.name})~a;\n}}")
    return spelled


def _is_plain_comparison(e: ir.Operation, is_equality: bool) -> bool:
    """Whether compilers do not see the answer of a comparison of integers or bools, nor think that they do."""
    left, right = e.args
    if c_type(left.dtype).kind == "b":
        return is_equality and left != right and not isinstance(left, ir.Literal) and not isinstance(right, ir.Literal)
    if is_equality and isinstance(left, (ir.Var, ir.Load)) and isinstance(right, ir.Literal):
        return True
    return not _have_same_parts(left, right) and _is_plain_operand(left, right) and _is_plain_operand(right, left)


def _have_same_parts(left: ir.Expr, right: ir.Expr) -> bool:
    """Whether two expressions may be equal but for the order of operands."""
    mine, others = ({part for part in walk(e) if not isinstance(part, ir.Operation)} for e in (left, right))
    return mine == others


def _is_plain_operand(e: ir.Expr, other: ir.Expr) -> bool:
    match e:
        case ir.Literal(dtype, value):
            return _is_inside(value, dtype)
        case ir.Cast(dtype, arg):
            source, target = c_type(arg.dtype), c_type(dtype)
            is_wider = source.kind == target.kind == "i" and source.bytes < target.bytes
            is_seen = isinstance(other, ir.Literal) and not _is_inside(other.value, arg.dtype)
            return is_wider and not is_seen and isinstance(arg, (ir.Var, ir.Load))
        case ir.Operation("int32" | "int64", "add" | "sub" | "mul", args):
            return all(_is_plain_operand(arg, other) for arg in args)
        case ir.Operation():
            return isinstance(spelled_as(e), Function)
    return isinstance(e, (ir.Var, ir.Load))


def _is_inside(value: bool | int | float, dtype: str) -> bool:
    """Whether an integer lies between the lowest and the highest of a dtype."""
    if c_type(dtype).kind not in "iu":
        return False
    lowest, highest = identity("maximum", dtype).value, identity("minimum", dtype).value
    return lowest < value < highest


def _is_int(e: ir.Operation) -> bool:
    """Whether C would compute in int where the dtype is unsigned or wider, since all operands are constants."""
    return e.dtype in ("uint32", "int64", "uint64") and all(map(_is_int_constant, e.args))


def _is_int_constant(e: ir.Expr) -> bool:
    match e:
        case ir.Literal(dtype, value):
            return literal(dtype, value).lstrip("-").isdigit()
        case ir.Select(_, _, then, otherwise):
            return _is_int_constant(then) and _is_int_constant(otherwise)
    return False


def _cast(dtype: str, arg: ir.Expr) -> tuple[str, int]:
    if arg.dtype == dtype:
        return _expr(arg)
    target = c_type(dtype)
    if target.kind == "b":
        return _operation(is_nonzero(arg))
    if truncates(dtype, arg):
        return f"{conversion(arg.dtype, dtype).name}({expression(arg)})", POSTFIX
    if arg.dtype == "bool" and target.kind == "f" and not isinstance(arg, (ir.Literal, ir.Load)):
        # gcc 12 vectorizes no other conversion of a bool variable
        text = f"{inside(arg, EQUALITY)} ? {literal(dtype, 1)} : {literal(dtype, 0)}"
        return text, CONDITIONAL
    return f"({target.name}){inside(arg, UNARY)}", UNARY


def is_nonzero(e: ir.Expr) -> ir.Operation:
    """What a number is as a bool."""
    return ir.Operation("bool", "neq", (e, ir.Literal(e.dtype, 0)))


def truncates(dtype: str, arg: ir.Expr) -> bool:
    """Whether a cast is from float to integer."""
    return c_type(arg.dtype).kind == "f" and c_type(dtype).kind in "iu"
