"""What a search means, spelt out in Python over records: the oracle of the fuzzing. The library decides a condition in
SQL alone, over the index or a private one; here every version is read, and decided one by one.

`truth` stands on `predicate.decided`, what a comparison of two values means, which `test_query` compares with an oracle
that shares no code with the library.
"""
import math
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from objectstore.errors import InvalidQuery
from objectstore.refs import LATEST, name_filter
from objectstore.format.origin_clock import micros
from objectstore.search.encoding import Cell, Row, cell
from objectstore.search.parser import parse_where
from objectstore.search.planner import PrivateIndex, Search, private_index
from objectstore.search.predicate import (And, Compare, Condition, Name, Node, Not, Or, decided, named, texts, value,
                                          words)
from objectstore.store.find import Asked, as_selector, check_sort
from objectstore.versions.results import rank
from objectstore.versions.version import Version, Versions, flat, view


def _not(t: bool | None) -> bool | None: return None if t is None else not t

def _and(truths: list[bool | None]) -> bool | None:
    return False if False in truths else None if None in truths else True

def truth(node: Node, seen: Mapping) -> bool | None:
    "Whether a condition holds for one record; None: unknown"
    match node:
        case And(): return _and([truth(p, seen) for p in node.parts])
        case Or(): return _not(_and([_not(truth(p, seen)) for p in node.parts]))
        case Not(): return _not(truth(node.part, seen))
    other = value(node.other, seen) if isinstance(node, Compare) and isinstance(node.other, Name) else None
    return decided(node, value(node.name, seen), other)

def matches(condition: Condition, seen: Mapping) -> bool:
    "Does a record meet a condition? Unknown is not a match"
    return condition.tree is None or truth(condition.tree, seen) is True

def matches_words(text: str, name: str, metadata: Mapping) -> bool:
    "Whether each word begins a word of the name or of a text value"
    there = {w for t in (name, *texts(metadata)) for w in words(t)}
    return all(any(t.startswith(w) for t in there) for w in words(text))

def sort_cell(v: Version, key: str) -> Cell:
    "What a version is sorted by"
    found = value(named(key), view(v))
    return found.timestamp() if isinstance(found, datetime) else cell(found)

def sort_key(sort: str): return lambda v: (*rank(sort_cell(v, sort)), v.item, v.version or math.inf, v.id)

def keys(views: Iterable[Mapping]) -> set[str]:
    "Every key of metadata and stats that some version has"
    def heads(name): return ['.'.join(name.split('.')[:i + 1]) for i in range(name.count('.') + 1)]
    return {k for w in views for part in ('metadata', 'stats') for name in flat(w[part]) for k in heads(name)}

def plainly(store, bucket=None, filter=None, *, at='latest', where=None, params=None, text=None, kind=None,
            sort='-created', limit=None) -> Versions:
    "What the records answer, one after the other"
    condition, at, passes = parse_where(where, params), as_selector(at), name_filter(filter)
    found = [v for name in store._buckets_for(bucket) for v in store._selected(name, at, passes)]
    kept = [v for v in found if kind in (None, v.kind)
            and (not text or matches_words(text, ' '.join((v.item, str(v.kind), *v.aliases)), v.metadata))]
    seen = [(v, view(v)) for v in kept]
    try: condition.check(keys(w for _, w in seen))
    except InvalidQuery as e:
        if seen and 'did you mean' in str(e): raise
    kept = [v for v, w in seen if matches(condition, w)]
    if kept and (known := keys(map(view, kept))):
        try: check_sort(sort.lstrip('-'), known)
        except InvalidQuery as e:
            if 'did you mean' in str(e): raise
    return Versions(sorted(kept, key=sort_key(sort.lstrip('-')), reverse=sort.startswith('-'))[:limit])

def privately(store, bucket=None, filter=None, *, at='latest', where=None, params=None, text=None, kind=None,
              sort='-created', limit=None) -> Versions:
    "What a private index of the records answers"
    return store._from_records(Asked(bucket, as_selector(at), name_filter(filter), parse_where(where, params), where,
                                     params, text, kind, sort, limit, filter))

def row_of_view(seen: Mapping, n: int = 1) -> tuple[Row, list[str]]:
    "The row of a view, and its aliases; a field that the view has not is empty"
    f = seen.get('fields', {})
    made = f.get('created', datetime(2026, 1, 1, tzinfo=timezone.utc))
    row = Row(f.get('bucket', 'lab'), f.get('item', f'm{n}'), n, micros(made), f.get('size', 0), f.get('kind', 'data'),
              f.get('codec', 'json'), f.get('author', ''), f.get('id', ''), f.get('hash', ''), seen.get('metadata', {}),
              [], seen.get('stats', {}))
    return row, [*f.get('alias', [])]

def index_of(views: Iterable[Mapping]) -> PrivateIndex:
    return private_index(row_of_view(seen, n) for n, seen in enumerate(views, 1))

def found_in(index: PrivateIndex, condition: Condition, sort='item') -> set[int]:
    "The views that a condition finds, by their places from 1 on"
    return {p.version for p in Search(index, ['lab'], LATEST, condition.tree, sort=sort).page(10**6)}
