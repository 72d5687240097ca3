"What an editor and a type checker know of the verbs"
import json, subprocess, sys
from pathlib import Path
from typing import get_overloads
import pytest
import objectstore
from objectstore import ObjectStore
from objectstore.versions.version import Version

ASKED = '''
from objectstore import ObjectStore
store = ObjectStore('memory://')
v = store['models/churn']
reveal_type(store.get('models/churn'))
reveal_type(store.get('models/churn', as_=dict))
reveal_type(store.get('models/churn', as_=bytes, default=None))
reveal_type(store.get(v, as_='pandas'))
reveal_type(v.get())
reveal_type(v.get(as_=dict[str, float]))
'''
TOLD = ['object', 'dict[Unknown, Unknown]', 'bytes | None', 'object', 'object', 'dict[str, float]']

@pytest.mark.timeout(300)
def test_what_is_got_as_a_type_is_of_that_type(tmp_path):
    pytest.importorskip('pyright')
    (tmp_path/'asked.py').write_text(ASKED)
    # an editable install is found by an import, which pyright does not run
    (tmp_path/'pyrightconfig.json').write_text(json.dumps({'extraPaths': [str(Path(objectstore.__file__).parents[1])]}))
    done = subprocess.run([sys.executable, '-m', 'pyright', '--pythonpath', sys.executable, '--outputjson', 'asked.py'],
                          cwd=tmp_path, capture_output=True, text=True)
    said = [d['message'] for d in json.loads(done.stdout)['generalDiagnostics']]
    assert [m.partition(' is "')[2].rstrip('"') for m in said] == TOLD, done.stdout

def test_what_is_got_as_a_type_is_so_when_it_runs():
    store = ObjectStore('memory://')
    v = store.put('models/churn', {'auc': 0.91})
    assert type(store.get(v, as_=dict)) is dict and type(v.get(as_=bytes)) is bytes
    assert store.get('models/upsell', as_=dict, default=None) is None
    assert [len(get_overloads(f)) for f in (ObjectStore.get.__wrapped__, Version.get.__wrapped__)] == [3, 2]
