"""What the options of `retention hold place` cover, checked before anything is written down."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from retention.cli.options import known_class
from retention.errors import InputError, NotFound, SourceFailed
from retention.holds.scope import Everything, Keys, Matching, Scope, Subject, Tagged, WholeClass
from retention.policy.suggest import nearest

if TYPE_CHECKING:
    from retention.disposition.engine import Engine


def read_scope(
    engine: Engine,
    *,
    keys: tuple[str, ...],
    keys_from: Path | None,
    tag: str | None,
    where: tuple[str, ...],
    subject: str | None,
    address: str | None,
    everything: bool,
) -> tuple[Scope, list[str]]:
    """The scope, and the keys' texts where it is one of keys. Raises InputError where it is empty, doubled or unknown."""
    known_class(engine, address)
    given = {
        "--key": bool(keys or keys_from is not None),
        "--tag": tag is not None,
        "--where": bool(where),
        "--subject": subject is not None,
        "--everything": everything,
    }
    said = [option for option, present in given.items() if present]
    if len(said) > 1:
        raise InputError(
            f"{' and '.join(said)} cannot be one hold", hint="place one hold for each; a record may have several"
        )
    if not said and address is None:
        raise InputError(
            "the hold covers nothing",
            hint="say --key, --keys-from, --tag, --where, --subject, --class or --everything",
        )
    if address is not None and (everything or subject is not None):
        raise InputError(f"--class does not go with {said[0]}", hint=f"leave out --class, or {said[0]}")
    if everything:
        return Everything(), []
    if subject is not None:
        return _subject(engine, subject), []
    if keys or keys_from is not None:
        return _keys(engine, [*keys, *_lines(keys_from)], address)
    if tag is not None:
        return _tagged(engine, tag, address), []
    if where:
        return _matching(engine, where, address), []
    assert address is not None
    return WholeClass(records=address), []


def _lines(path: Path | None) -> list[str]:
    if path is None:
        return []
    hint = "give a UTF-8 text file with one key a line"
    try:
        if str(path) != "-":
            text = path.read_text("utf-8-sig")
        elif sys.stdin is None:  # it was closed
            text = ""
        else:
            text = sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"--keys-from {path}: byte {error.start + 1:,} is not UTF-8", hint=hint) from None
    except OSError as error:
        raise InputError(f"--keys-from {path} cannot be read: {error.strerror}", hint=hint) from None
    # keys are told apart by line ends alone: a key may hold any other character that Unicode counts as one
    return [line.strip() for line in text.replace("\r\n", "\n").split("\n") if line.strip()]


def _keys(engine: Engine, texts: list[str], address: str | None) -> tuple[Scope, list[str]]:
    classes = engine.project.config.classes
    if address is None:
        if len(classes) != 1:
            raise InputError("keys of which class?", hint=f"add --class with one of: {', '.join(classes)}")
        address = next(iter(classes))
    texts = list(dict.fromkeys(texts))
    if not texts:
        raise InputError("the list of keys is empty, so the hold would cover nothing", hint="give at least one key")
    from retention.sources.keys import key_from_text, key_text
    from retention.sources.presence import as_written

    try:
        bound = engine.bound(address)
        keys = as_written(bound, [key_from_text(bound, text) for text in texts])
    except SourceFailed:
        pass  # a hold must be placed while its source is away; the keys are read as the key's type once it is back
    else:
        texts = list(dict.fromkeys(key_text(key) for key in keys))
    return Keys(records=address, count=len(texts)), texts


def _tagged(engine: Engine, tag: str, address: str | None) -> Scope:
    tagged = tuple(name for name, declared in engine.project.config.classes.items() if declared.tags is not None)
    if address is not None and address not in tagged:
        raise InputError(f"{address} has no tags", hint="use --class alone, --key or --where")
    chosen = tagged if address is None else (address,)
    if not chosen:
        raise InputError("no record class has tags", hint="use --class, --key or --where")
    return Tagged(tag=tag, records=chosen)


def _matching(engine: Engine, texts: tuple[str, ...], address: str | None) -> Scope:
    from retention.policy.condition import AllOf
    from retention.policy.read_where import parse_where
    from retention.sources.check import check_condition

    condition = AllOf(parts=tuple(parse_where(text) for text in texts)) if len(texts) > 1 else parse_where(texts[0])
    chosen: list[str] = []
    complaints: list[str] = []
    for name in engine.project.config.classes if address is None else [address]:
        problems = check_condition(engine.bound(name), condition, engine.project.policies.timezone)
        if problems:
            complaints.extend(f"{name}: {problem.message}, {problem.remedy}" for problem in problems)
        else:
            chosen.append(name)
    if not chosen:
        words = " and ".join(texts)
        raise InputError(f'--where "{words}" fits no record class', hint="\n  ".join(complaints))
    return Matching(where=condition, records=tuple(chosen))


def _subject(engine: Engine, text: str) -> Scope:
    name, equals, value = text.partition("=")
    known = sorted({subject for declared in engine.project.config.classes.values() for subject in declared.subjects})
    if not equals or not value:
        raise InputError(f'--subject "{text}" names no one', hint="write it as customer=42")
    if name not in known:
        raise NotFound(f'no record class declares the subject "{name}"', hint=nearest(name, known))
    return Subject(subject=name, value=value)
