"""Marks that choose: what `make test` runs whole.

    quick        each layer on one place, and the notebooks that take little; nothing that kills, races, floods or
    measures
    libraries    what shows that a version of another library works; `make lowest`
    repeats      what is done more often where `make soak` asks for it
    more         what another place or a further case of the same test shows once more: `make soak`, not `make test`
"""
import re
from collections.abc import Iterator
from types import CodeType, FunctionType
import pytest

LAYERS = {'backends', 'bad_input', 'calculated', 'codecs', 'context', 'environment', 'files', 'help', 'layout',
          'machine', 'met_by_everybody', 'offline', 'patience', 'places', 'privacy', 'query', 'remote', 'requests',
          'search', 'secrets', 'settings', 'shown', 'store', 'traps', 'words'}
NOTEBOOKS = {'00_durations', '01_errors', '02_refs', '04_calls', 'storage/01_backend', 'storage/02_atomic',
             'codecs/02_codec', 'search/01_predicate', 'storage/09_config', '06_provenance', '05_display',
             '07_tracking', 'search/02_parser', 'format/05_records', 'format/06_buckets', 'format/07_commit',
             'format/08_origin', 'store/09_bulk', 'browser/04_search_line', 'explanations/decisions',
             'command/01_codes', 'command/02_answers', 'command/04_arguments'}
WITH_SERVICE = {'backends', 'remote', 'requests', 'secrets'}       # of these SeaweedFS too: the line to a service
LIBRARIES = {'bad_input', 'backends', 'calculated', 'codecs', 'context', 'environment', 'fsspec', 'places', 'privacy',
             'query', 'remote', 'requests', 'search', 'secrets', 'settings', 'shown', 'store', 'twins', 'words',
             'workers'}
ELSEWHERE = re.compile(r'local|shared|two|three|ceph|rclone|given|native')
SLOW = re.compile(r'planted|kill_|winner|nonsense|fuzz|hangs|longest|swallows|memory_is_bounded|large_folder|any_frame|'
                  r'at_once|scripts_modules')

# The second service and the middle stack repeat what the first and the whole one show; where the place hardly matters,
# so do the others
MORE = re.compile(r'''
    \[(.*-)?(ceph|two)\b | ^services::test_ceph_ | ^(bad_input|fresh|secrets|privacy)::.*\[(three|shared)\b
    | ^fresh::test_1500_versions.*\[(memory|seaweed) | ^identity::.*\[(snapshot|seaweed-alone)
    | ^fsspec::.*glob_edge_cases | ^crash::test_every_step\[call | ^doctor::test_two_winners_in_a_tenth
    | ^faults::test_time_is_bounded\[slow | ^faults::test_lost_replies_of_a_service\[hang_after_commit
    | ^model_collect::test_planted_runs_that_read_no | axe_finds_nothing.*\[(jupyterlab-light|system-dark|dark)
    | test_tables_are_in_the_theme.*(light.*dark|dark.*light)
    ''', re.VERBOSE)


def _more(item) -> bool:
    "Is a test one of those that `make test` leaves to `make soak`?"
    return bool('ceph' in item.fixturenames
                or MORE.search(f'{item.module.__name__.removeprefix("test_")}::{item.nodeid.rpartition("::")[2]}'))

def _marks(item) -> set[str]:
    module, case = item.module.__name__.removeprefix('test_'), getattr(item, 'callspec', None)
    if module == 'notebooks': return {'quick'} if case.id in NOTEBOOKS else set()
    if item.get_closest_marker('slow') or SLOW.search(item.name) or 'Native' in item.nodeid: return set()
    if case and (ELSEWHERE.search(case.id) or 'seaweed' in case.id and module not in WITH_SERVICE): return set()
    return {mark for mark, modules in (('quick', LAYERS), ('libraries', LIBRARIES)) if module in modules}

def _names(code: CodeType) -> Iterator[str]:
    "The names that a function uses, the functions in it included"
    yield from code.co_names
    for inner in code.co_consts:
        if isinstance(inner, CodeType): yield from _names(inner)

def _repeats(item) -> bool:
    "Does a test, or a function of its module that it uses, ask how often to repeat?"
    of_module, todo, seen = vars(item.module), [item.function], set()
    while todo:
        names = set(_names(todo.pop().__code__))
        if names & {'soak', 'SOAK'}: return True
        todo += [f for n in names - seen if isinstance(f := of_module.get(n), FunctionType)
                 and f.__module__ == item.module.__name__]
        seen |= names
    return False

def pytest_collection_modifyitems(items):
    for item in items:
        if ' at 0x' in item.nodeid:
            raise pytest.UsageError(f'{item.nodeid}: an address names it otherwise in each process: give it an id')
        more = {name for name, of in (('repeats', _repeats), ('more', _more)) if of(item)}
        for mark in _marks(item) | more: item.add_marker(mark)
