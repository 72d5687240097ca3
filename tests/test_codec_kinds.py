"""Formats of the field: what each library's objects come back as, in this process, in another, and from a cold store;
what is refused, with a remedy that works; what is shown of them. A library that is not installed skips its own"""
import importlib, io, json, re, subprocess, sys
import pytest
from objectstore import ObjectStore
from objectstore.browser.preview import preview
from objectstore.browser.views import compared
from objectstore.codecs.codec import by_name, round_trip
from objectstore.codecs.equality import difference
from objectstore.errors import Unsupported

pytestmark = pytest.mark.filterwarnings('ignore')

def lib(name):
    "A library, or a skip that names it"
    try: return importlib.import_module(name)
    except ImportError: pytest.skip(f'{name} is not installed: pip install {name.partition(".")[0]}')

# Values by family: name: function that makes one; `_same` of a family says what is the same, where the rule cannot

def _sparse():
    sp, np = lib('scipy.sparse'), lib('numpy')
    a = np.array([[0, 2, 0], [1, 0, 0]])
    made = {k: sp.csr_array(a).asformat(k) for k in ('csr', 'csc', 'coo', 'bsr', 'dia', 'dok', 'lil')}
    return made | {'matrix': sp.csr_matrix(a), 'random': sp.random(80, 40, 0.1, 'csr', random_state=0),
                   'three dimensions': sp.coo_array(np.arange(24).reshape(2, 3, 4)), 'empty': sp.csr_array((3, 3)),
                   'twice at one place': sp.coo_array(([1, 2], ([0, 0], [0, 0])), shape=(1, 1)),
                   'complex': sp.csr_array(np.eye(2) * 1j), 'bool': sp.csc_array(np.eye(2) > 0)}

def _masked():
    np = lib('numpy')
    ma = np.ma.array
    return {'plain': ma([1, 2], mask=[0, 1], fill_value=7), 'no mask': ma([1.5]),
            'hard': ma([1], mask=[1], hard_mask=True), 'nan': np.ma.masked_invalid([1.0, np.nan]), 'scalar': ma(3),
            'text': ma(['a', 'b'], mask=[1, 0]),
            'records': ma([(1, 2.0)], mask=[(0, 1)], dtype=[('a', int), ('b', float)]),
            'dates': ma(np.array(['2026-01-01'], 'M8[D]'), mask=[1]), 'two': ma(np.ones((2, 3)), mask=np.eye(2, 3))}

def _xarray():
    xr, np, pd, _ = lib('xarray'), lib('numpy'), lib('pandas'), lib('h5netcdf')
    one = lambda v, **kw: xr.DataArray(v, dims='x', **kw)
    packed = one([1.23456, 2])
    packed.encoding = {'dtype': 'i2', 'scale_factor': 0.1}
    attrs = {'l': [1, 2], 'n': None, 'd': {'a': 1}, 'b': True, 'i': 3, 'f': 2.5, 'np': np.float32(2), 'a': np.arange(3),
             's': '', 't': ('a', 'b'), 'u': 'ü'}
    return {'text': one(['a', 'bb']), 'objects': one(np.array(['a', ''], object)), 'bool': one([True], name='b'),
            'seconds': one(np.array(['2026-01-01', 'NaT'], 'M8[s]')), 'durations': one(np.array([1, 2], 'm8[ns]')),
            'nan': one([1, np.nan, -0.0]), 'attributes': one(np.array([1, 2], 'f4'), attrs=attrs), 'packed': packed,
            'units that look like dates': one([1, 2], attrs={'units': 'days since 2000-01-01'}),
            'units that look like times': one([1.5], attrs={'units': 'days'}), 'kelvin': one([1], attrs={'units': 'K'}),
            'a fill value': one([1.0, 2], attrs={'_FillValue': 1.0}),
            'coordinates': one([1], attrs={'coordinates': 'a'}),
            'types': xr.Dataset({'z': ('x', np.arange(3, dtype='i1')), 'a': ('y', np.arange(2, dtype='u8'))},
                                {'c': ('x', [1, 2, 3])}, {'by': ['me', 'you']}),
            'scalars': xr.DataArray(1.0, coords={'s': 'here', 'k': 3}),
            'order': xr.DataArray(np.zeros((2, 3)), dims=('z', 'x')), 'named by a number': one([1], name=3),
            'empty': xr.Dataset(), 'no rows': xr.DataArray(np.zeros((0, 3))), 'complex': one([1j]),
            'of a frame': pd.DataFrame({'a': [1, 2], 's': ['x', 'y']}).to_xarray(),
            'hours': one([1, 2], coords={'x': pd.to_timedelta([1, 2], 'h')})}

def _networkx():
    nx = lib('networkx')
    g, clash, multi, di = nx.Graph([('c', 'a'), ('b', 'c'), ('a', 'b')],
                                   by='me'), nx.Graph(), nx.MultiDiGraph(), nx.DiGraph()
    clash.add_node(1, id=7, source='s')
    clash.add_edge(1, 2, key=3, target=None, weight=float('nan'))
    multi.add_edges_from([(1, (2, 3), 'k', {'w': 1}), (1, (2, 3), 0, {'w': (1, 2)}), ((2, 3), 1, 'k', {})])
    di.add_edges_from([(3, 1), (2, 1), (3, 2), (1, 1)])
    g.add_edge('d', 'a')
    g.remove_edge('c', 'a')
    g.add_edge('a', 'c')
    return {'order of neighbours': g, 'names': clash, 'several edges': multi, 'directed': di,
            'karate': nx.karate_club_graph(), 'empty': nx.DiGraph(), 'large': nx.gnm_random_graph(300, 900, seed=0),
            'multi': nx.MultiGraph([(1, 1), (1, 1)])}

def _plotly():
    go, px, np, pd = lib('plotly.graph_objects'), lib('plotly.express'), lib('numpy'), lib('pandas')
    df = pd.DataFrame({'a': [1, 2], 'b': [3, np.nan], 'c': ['x', 'y'], 't': pd.date_range('2026', periods=2)})
    return {'lines': go.Figure(go.Scatter(x=df['t'], y=np.array([1.5, -0.0])), layout=dict(title='A title')),
            'express': px.scatter(df, x='a', y='b', color='c', facet_col='c'), 'heat': px.imshow(np.eye(3)),
            'frames': go.Figure(go.Scatter(y=[1, 2]), frames=[go.Frame(data=[go.Scatter(y=np.arange(3))])]),
            'map': px.choropleth(locations=['DEU'], color=[1.0]), 'empty': go.Figure()}

def _altair():
    alt, pd = lib('altair'), lib('pandas')
    c = alt.Chart(pd.DataFrame({'a': [1, 2], 't': pd.date_range('2026', periods=2)})).mark_point().encode(x='a', y='t')
    many = alt.Chart(pd.DataFrame({'a': range(6000)})).mark_bar().encode(x='a')
    return {'chart': c, 'layers': c + c.mark_line(), 'side by side': c | c, 'below': c & c, 'many rows': many,
            'repeated': c.repeat(['a', 't']),
            'by address': alt.Chart('https://example.org/a.csv').mark_bar().encode(x='a:Q')}

def _animation():
    Image = lib('PIL.Image')
    def saved(how, *colours, mode='RGB', **kw):
        first, *more = [Image.new(mode, (8, 6), c) for c in colours]
        first.save(to := io.BytesIO(), how, save_all=True, append_images=more, **kw)
        return Image.open(to)
    return {'gif': saved('GIF', (9, 0, 0), (9, 0, 0), (0, 90, 0), (0, 0, 200), duration=[100, 50, 60, 70], loop=2),
            'clear': saved('PNG', (0, 0, 0, 0), (0, 0, 0, 0), (9, 9, 9, 90), mode='RGBA', duration=40),
            'pages': saved('TIFF', (1, 2, 3), (4, 5, 6)), 'webp': saved('WEBP', (1, 2, 3), (200, 5, 6), lossless=True)}

def _pandas():
    pd, pa = lib('pandas'), lib('pyarrow')
    return {'text': pd.Index(['a', None], name='x'), 'range': pd.RangeIndex(2, 8, 2, name='r'),
            'days': pd.date_range('2026', periods=3, freq='W', tz='Europe/Berlin'),
            'named by a tuple': pd.Index([1.5], name=(1, 'a')),
            'levels': pd.MultiIndex.from_product([['a', 'b'], [1, 2]], names=['k', None]),
            'categories': pd.CategoricalIndex(['b'], ['c', 'b']), 'spans': pd.interval_range(0, 3),
            'months': pd.period_range('2026', periods=3, freq='M'), 'hours': pd.to_timedelta([1, 2], 'h'),
            'empty': pd.Index([], dtype='int64'), 'objects': pd.Index([b'a', b'b'], dtype=object),
            'ordered': pd.Categorical(['b', None], ['c', 'b'], ordered=True), 'Int64': pd.array([1, None]),
            'str': pd.array(['a', None], dtype='str'), 'boolean': pd.array([True, None]),
            'intervals': pd.arrays.IntervalArray.from_breaks([0, 1, 2]),
            'arrow': pd.array([[1], None], pd.ArrowDtype(pa.list_(pa.int8()))),
            'datetimes': pd.date_range('2026', periods=3, freq='D').array,
            'periods': pd.period_range('2026', periods=3, freq='M').array,
            'numpy': pd.arrays.NumpyExtensionArray(pd.Series([1.5]).to_numpy()),
            'large': pd.Index(range(300_000)).astype(str)}

def _arrow():
    pa, np = lib('pyarrow'), lib('numpy')
    images = pa.FixedShapeTensorArray.from_numpy_ndarray(np.arange(12.0).reshape(3, 2, 2))
    return {'numbers': pa.array([1, None]), 'nan': pa.array([float('nan'), None, -0.0]),
            'chunks': pa.chunked_array([['a'], [], ['b', None]]), 'dictionary': pa.array([1, 2, 1]).dictionary_encode(),
            'cut': pa.array([1, 2, 3])[1:],
            'union': pa.UnionArray.from_sparse(pa.array([0, 1], pa.int8()), [pa.array([1, 2]), pa.array(['a', 'b'])]),
            'schema': pa.schema([pa.field('a', pa.int8(), nullable=False, metadata={'u': 'm'})], metadata={'by': 'me'}),
            'no chunks': pa.chunked_array([], pa.int8()),
            'tensors': pa.table({'a': images, 'b': [1, 2, 3]}).replace_schema_metadata({'x': 'y'}),
            'a tensor array': images,
            'a dictionary inside': pa.table({'b': [1, 2],
                                             'a': pa.StructArray.from_arrays([pa.array([1, 2]).dictionary_encode()],
        ['d'])}), 'a dictionary of numbers': pa.table({'a': pa.array([1, 2]).dictionary_encode()}),
            'height only': pa.table({'a': [1, 2]}).select([]),
            'runs': pa.table({'a': pa.array([1, 1, 2])}).set_column(0, 'a',
        lib('pyarrow.compute').run_end_encode(pa.array([1, 1, 2]))),
            'a batch': pa.RecordBatch.from_pydict({'a': pa.array([1, 2]).dictionary_encode()})}

def _geopandas():
    gpd, shapely, pd = lib('geopandas'), lib('shapely'), lib('pandas')
    points = [shapely.Point(1, 2), None, shapely.Polygon([(0, 0), (1, 0), (1, 1)])]
    gdf = gpd.GeoDataFrame({'a': [1, 2, 3], 's': ['x', None, 'z']}, geometry=points, crs=3857)
    return {'plain': gdf, 'indexed': gdf.set_index('a'), 'renamed': gdf.rename_geometry('where'),
            'series': gdf.geometry, 'no system': gpd.GeoSeries(points, name='g'),
            'two': gdf.assign(other=gdf.geometry.centroid),
            'dates': gdf.assign(t=pd.date_range('2026', periods=3, tz='UTC')),
            'a series with a name': gpd.GeoSeries(points, crs=4326, name='w'), 'empty': gdf.iloc[:0]}

def _xgboost():
    xgb, np, pd = lib('xgboost'), lib('numpy'), lib('pandas')
    X, y = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 3)), columns=list('abc')), np.arange(60) % 3
    return {'booster': xgb.train({'max_depth': 2}, xgb.DMatrix(X, y % 2), 2),
            'classifier': xgb.XGBClassifier(n_estimators=2, max_depth=2).fit(X, y),
            'regressor': xgb.XGBRegressor(n_estimators=3).fit(X, y * 0.5),
            'forest': xgb.XGBRFClassifier(n_estimators=3).fit(X, y % 2)}

def _lightgbm():
    lgb, np = lib('lightgbm'), lib('numpy')
    X, y = np.random.default_rng(0).normal(size=(80, 3)), np.arange(80) % 2
    early = lgb.train({'verbose': -1, 'objective': 'binary'}, lgb.Dataset(X[:60], y[:60]), 9,
                      [lgb.Dataset(X[60:], y[60:])], callbacks=[lgb.early_stopping(2, verbose=False)])
    return {'plain': lgb.train({'verbose': -1}, lgb.Dataset(X, y), 3), 'stopped early': early}

def _catboost():
    cat, np = lib('catboost'), lib('numpy')
    X, y, quiet = np.random.default_rng(0).normal(size=(60, 3)), np.arange(60) % 2, dict(verbose=0,
        allow_writing_files=False)
    return {'classifier': cat.CatBoostClassifier(iterations=3, **quiet).fit(X, y),
            'regressor': cat.CatBoostRegressor(iterations=2, depth=2, **quiet).fit(X, y * 1.5)}

def _onnx():
    lib('onnx')
    from onnx import TensorProto, helper
    def graph(op):
        ends = [[helper.make_tensor_value_info(n, TensorProto.FLOAT, [1])] for n in ('x', 'y')]
        return helper.make_model(helper.make_graph([helper.make_node(op, ['x'], ['y'])], 'g', *ends),
                                 producer_name='lab')
    return {'relu': graph('Relu'), 'abs': graph('Abs')}

families = {'pandas-values': _pandas, 'arrow-ipc': _arrow, 'geoparquet': _geopandas, 'xgboost': _xgboost,
            'lightgbm': _lightgbm, 'catboost': _catboost, 'onnx': _onnx, 'scipy-sparse': _sparse,
            'numpy-masked': _masked, 'netcdf': _xarray, 'networkx': _networkx, 'plotly': _plotly, 'altair': _altair,
            'animation': _animation}

def same(codec, a, b):
    if codec == 'scipy-sparse':
        return type(a) is type(b) and a.dtype == b.dtype and a.shape == b.shape and (a.toarray() == b.toarray()).all()
    if codec == 'netcdf': return a.identical(b) and list(a.coords) == list(b.coords)
    if codec == 'networkx':
        return (type(a) is type(b) and repr([a.graph, *a.nodes(data=True)]) == repr([b.graph, *b.nodes(data=True)])
                and repr([*a.adjacency()]) == repr([*b.adjacency()]))
    if codec == 'plotly': return type(a) is type(b) and _drawn(a) == _drawn(b)
    if codec == 'altair':
        with lib('altair').data_transformers.enable('default', max_rows=None):
            return type(a) is type(b) and a.to_dict() == b.to_dict()
    if codec == 'arrow-ipc' and 'nan' in str(a)[:99]: return str(a) == str(b)
    if codec == 'arrow-ipc':
        return (type(a) is type(b)
                and a.equals(b, **({'check_metadata': True} if hasattr(a, 'schema') or hasattr(a, 'names') else {})))
    if codec == 'pandas-values':
        pd = lib('pandas')
        if isinstance(a, pd.Index): pd.testing.assert_index_equal(a, b, exact=True)
        else: pd.testing.assert_extension_array_equal(a, b)
        return getattr(a, 'freq', None) == getattr(b, 'freq', None)
    if codec == 'geoparquet':
        (lib('geopandas.testing').assert_geodataframe_equal if a.ndim == 2
         else lib('geopandas.testing').assert_geoseries_equal)(a, b)
        return a.crs == b.crs
    if codec in ('xgboost', 'lightgbm', 'catboost'): return _predicts(codec, a) == _predicts(codec, b)
    if codec == 'onnx': return a.SerializeToString() == b.SerializeToString()
    if codec == 'animation': return a.n_frames == b.n_frames and b.is_animated
    return difference(a, b) is None

def _predicts(codec, model):
    "What a model answers, its class and its parameters"
    np = lib('numpy')
    X = np.random.default_rng(1).normal(size=(20, 3))
    if type(model).__name__ == 'Booster' and codec == 'xgboost':
        X = lib('xgboost').DMatrix(X, feature_names=list('abc'))
    answers = model.predict_proba(X) if hasattr(model, 'predict_proba') else model.predict(X)
    params = model.get_params() if hasattr(model, 'get_params') else getattr(model, 'params', {})
    return type(model), answers.tolist(), repr(params)

def _drawn(fig):
    "What plotly draws: its JSON, without what is not set"
    text, before = json.dumps(json.loads(fig.to_json(engine='json')), sort_keys=True), None
    while text != before: before, text = text, re.sub(r'"\w+": \{\}(, )?|, (?=[}\]])', '', text)
    return text

@pytest.fixture(scope='module')
def lab(tmp_path_factory): return tmp_path_factory.mktemp('kinds')/'origin'

@pytest.mark.parametrize('codec', families)
def test_three_reads(codec, lab, tmp_path):
    "Near, cold and in another process: the same"
    values = families[codec]()
    mine = ObjectStore(tmp_path/'near', lab, progress=False, durable=False)
    for i, (name, value) in enumerate(values.items()):
        v = mine.put(f'{codec}/{i}', value)
        assert v.codec == codec and v.stats, name
        cold = ObjectStore(tmp_path/f'cold-{i}', lab, progress=False)
        for back in mine.get(v), mine.get(v), cold.get(f'{codec}/{i}'): assert same(codec, value, back), name
        assert isinstance(mine.get(v, as_='bytes'), bytes)
    mine.sync()
    code = (f'from objectstore import ObjectStore\ns = ObjectStore({str(lab)!r}, progress=False)\n'
            f'print(sum(s.get(f"{codec}/{{i}}") is not None for i in range({len(values)})))')
    done = subprocess.run([sys.executable, '-W', 'ignore', '-c', code], capture_output=True, text=True)
    assert done.stdout.strip() == str(len(values)), done.stderr[-2000:]

@pytest.mark.parametrize('codec', families)
def test_the_same_bytes_each_time(codec):
    "What is unchanged is not stored twice"
    for value in families[codec]().values():
        if codec == 'netcdf' and not value.sizes: continue
        c, told = by_name(codec), []
        for _ in range(2):
            c.encode(value, f := io.BytesIO())
            told.append(f.getvalue())
        assert told[0] == told[1]

@pytest.mark.parametrize('codec', families)
def test_shown_and_compared(codec, tmp_path):
    s = ObjectStore(tmp_path, progress=False, durable=False)
    one, two = [*families[codec]().values()][:2]
    a, b = s.put(f'{codec}/x', one), s.put(f'{codec}/x', two)
    assert preview(a)['type'] in ('text', 'json', 'image', 'frame', 'model') and 'broken' not in str(preview(b))
    assert compared(a, b)

# What is refused, with a remedy that works: library, value, the remedy, a word that the refusal says

def _masked_plain(a):
    np = lib('numpy')
    return np.ma.array(np.asarray(a.data), mask=np.asarray(a.mask))

def _refused():
    return {'masked, of another class': ('numpy', lambda np: np.ma.array(np.matrix([[1]]), mask=[[1]]), _masked_plain,
                                         r'numpy\.asarray\(a\.data\)'),
            'masked objects': ('numpy', lambda np: np.ma.array([1, 'x'], dtype=object), lambda a: a.filled().tolist(),
                               'list'),
            'levels': ('xarray',
                       lambda xr: xr.DataArray([[1]], dims=('a', 'b'), coords={'a': [1], 'b': [2]}).stack(c=['a', 'b']),
                       lambda x: x.reset_index('c'), 'reset_index'),
            'a class of graphs': ('networkx', lambda nx: type('Net', (nx.DiGraph,), {})([(1, 2)]),
                                  lambda g: sys.modules['networkx'].DiGraph(g), r'networkx\.DiGraph\(graph\)'),
            'objects of a graph': ('networkx', lambda nx: nx.Graph([(1, object())]),
                                   lambda g: sys.modules['networkx'].relabel_nodes(g, str), 'cannot be JSON')}

@pytest.mark.parametrize('name', _refused())
def test_refused_with_a_remedy_that_works(name, tmp_path):
    library, make, cure, says = _refused()[name]
    s, value = ObjectStore(tmp_path, progress=False, durable=False), make(lib(library))
    with pytest.raises(Unsupported, match='(?s)' + says): s.put('lab/x', value)
    assert 'lab/x' not in s
    better = cure(value)
    assert difference(better, s.get(s.put('lab/x', better))) is None

def test_pictures_of_several_sizes(tmp_path):
    Image = lib('PIL.Image')
    pages = [Image.new('L', (4, 4)), Image.new('L', (5, 4))]
    pages[0].save(tmp_path/'pages.tiff', save_all=True, append_images=pages[1:])
    s = ObjectStore(tmp_path/'lab', progress=False, durable=False)
    with pytest.raises(Unsupported, match='several sizes.*Path of the file'):
        s.put('lab/x', Image.open(tmp_path/'pages.tiff'))
    assert s.get(s.put('lab/x', tmp_path/'pages.tiff')).read_bytes() == (tmp_path/'pages.tiff').read_bytes()

def test_axes_and_grids_as_their_figure():
    plt, sns, pd = lib('matplotlib.figure'), lib('seaborn'), lib('pandas')
    fig = plt.Figure(figsize=(2, 2))
    ax = fig.subplots(1, 2)[0]
    inner = plt.Figure(figsize=(2, 2)).subfigures(1, 2)[0].subplots()
    for drawn in ax, inner, sns.FacetGrid(pd.DataFrame({'a': [1]})), sns.JointGrid(pd.DataFrame({'a': [1]}), x='a',
            y='a'):
        assert round_trip(drawn).size > (10, 10)
    assert round_trip(ax).tobytes() == round_trip(fig).tobytes()
    assert by_name('figure').stats(ax)['axes'] == 2

def test_nothing_is_imported_for_others():
    "A put of a dict imports none of the libraries"
    code = ('import sys\nfrom objectstore import ObjectStore\ns = ObjectStore("memory://")\ns.put("a/b", {"x": 1})\n'
            'print(*sorted({m.partition(".")[0] for m in sys.modules} & {"scipy", "xarray", "networkx", "plotly", '
            '"altair", ' '"h5netcdf", "geopandas", "xgboost", "lightgbm", "catboost", "onnx", "torch", "pandas", '
            '"numpy"}))')
    done = subprocess.run([sys.executable, '-W', 'ignore', '-c', code], capture_output=True, text=True)
    assert done.stdout.strip() == '', done.stdout + done.stderr
