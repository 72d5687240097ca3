"""What `make quick` runs: the mark `quick`, for each layer on one place, and for the notebooks that take little.

Not in it: whatever kills, races, floods or measures, and what is marked `slow`; `make test` has it all.
"""
import re
import pytest

LAYERS = {'backends', 'bad_input', 'calculated', 'codecs', 'context', 'files', 'layout', 'offline', 'places', 'query', 'remote', 'requests',
          'search', 'secrets', 'settings', 'shown', 'store', 'traps', 'words'}
NOTEBOOKS = {'00_names', '01_backend', '02_disk', '10_codecs', '20_conditions', '21_settings', '22_context', '23_shown', '24_inputs', '25_query',
             '30_records', '31_buckets', '32_puts', '33_origin', '65_many', '82_searchline', 'explanations/decisions'}
WITH_SERVICE = {'backends', 'remote', 'requests', 'secrets'}       # of these SeaweedFS too: the line to a service
ELSEWHERE = re.compile(r'local|shared|two|three|ceph|rclone|given|native')
SLOW = re.compile(r'planted|kill_|winner|nonsense|fuzz|hangs|longest|swallows|memory_is_bounded|large_folder|any_frame|at_once|scripts_modules')


def _is_quick(item) -> bool:
    module, case = item.module.__name__.removeprefix('test_'), getattr(item, 'callspec', None)
    if module == 'notebooks': return case.id in NOTEBOOKS
    if module not in LAYERS or item.get_closest_marker('slow') or SLOW.search(item.name) or 'Native' in item.nodeid: return False
    return not case or not ELSEWHERE.search(case.id) and (module in WITH_SERVICE or 'seaweed' not in case.id)

def pytest_collection_modifyitems(items):
    for item in items:
        if _is_quick(item): item.add_marker(pytest.mark.quick)
