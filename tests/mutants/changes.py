"""The mutants of a source: mutmut's operators on every function and method, but those that only change the letters of a text."""

from collections.abc import Iterator

import libcst as cst
from mutmut.mutation.mutators import mutation_operators, operator_string

from tests.mutants.session import Mutant

OPERATORS = [(kind, operator) for kind, operator in mutation_operators if operator is not operator_string]
PLAIN = (cst.Name, cst.BaseNumber, cst.UnaryOperation)


def mutants_of(source: str) -> list[Mutant]:
    """Return every mutant of the functions and methods of a module, in their order.

    Decorators, annotations, class bodies and what else runs at the import stay as they are.
    """
    module = cst.parse_module(source)
    return [mutant for name, function in _functions(module, "") for mutant in _mutants(name, function)]


def _functions(node: cst.Module | cst.ClassDef, within: str) -> Iterator[tuple[str, cst.FunctionDef]]:
    for statement in node.body.body if isinstance(node, cst.ClassDef) else node.body:
        if isinstance(statement, cst.FunctionDef):
            yield within + statement.name.value, statement.with_changes(decorators=(), leading_lines=())
        elif isinstance(statement, cst.ClassDef):
            yield from _functions(statement, f"{within}{statement.name.value}.")


def _mutants(name: str, function: cst.FunctionDef) -> Iterator[Mutant]:
    before = cst.Module([function]).code
    seen = {before}
    for node in _nodes(function):
        for kind, operator in OPERATORS:
            for changed in operator(node) if isinstance(node, kind) else ():
                if _loosens(node, changed):
                    continue
                mutated = function.deep_replace(node, changed)
                assert isinstance(mutated, cst.FunctionDef)
                after = cst.Module([mutated]).code
                if after not in seen and _compiles(after):
                    seen.add(after)
                    yield Mutant(name, difference(before, after), after)


def _nodes(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    if isinstance(node, cst.Annotation | cst.Decorator) or _looks_only(node) or _is_strict(node):
        return
    if isinstance(node, cst.Param) and node.default is not None and not isinstance(node.default, PLAIN):
        return  # it is worked out once, where the function is defined
    yield node
    for child in node.children:
        yield from _nodes(child)


def _looks_only(node: cst.CSTNode) -> bool:
    """True for calls that fail at once with any other argument."""
    return isinstance(node, cst.Call) and isinstance(node.func, cst.Name) and node.func.value in {"len", "isinstance"}


def _is_strict(node: cst.CSTNode) -> bool:
    """True for `strict=` of `zip`: like an assert it says what always holds, and no input can break it."""
    return isinstance(node, cst.Arg) and node.keyword is not None and node.keyword.value == "strict"


def _loosens(node: cst.CSTNode, changed: cst.CSTNode) -> bool:
    """True where a call is left with every argument but `strict=`."""
    if not (isinstance(node, cst.Call) and isinstance(changed, cst.Call)) or node.func is not changed.func:
        return False
    kept = [arg for arg in node.args if not _is_strict(arg)]
    return len(kept) < len(node.args) and [arg for arg in changed.args if not _is_strict(arg)] == kept


def _compiles(source: str) -> bool:
    try:
        compile(source, "<mutant>", "exec")
    except SyntaxError:
        return False
    return True


def difference(before: str, after: str) -> str:
    """Return the lines that differ as `old -> new`, each side on one line."""
    old, new = before.splitlines(), after.splitlines()
    for end in (0, -1):
        while old and new and old[end] == new[end]:
            del old[end], new[end]
    return " -> ".join(" ".join(line.strip() for line in lines) or "(nothing)" for lines in (old, new))
