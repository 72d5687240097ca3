"""What the tests see of the environment: nothing that whoever runs them has set, but for what is meant for the tests.

    OBJECTSTORE_TEST_S3_ENDPOINT   a service of yours to test against too; AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and
    others belong to it
    OBJECTSTORE_TEST_CHROMIUM      a browser to test with
    OBJECTSTORE_SOAK               multiplies repetitions
    OBJECTSTORE_TEST_FIGURES       a file for what the tests have tried and found
"""
from collections.abc import MutableMapping

GIVEN = 'OBJECTSTORE_TEST_'
FOREIGN = ('OBJECTSTORE_', 'XDG_', 'AWS_', 'BOTO', 'SSL_CERT_', 'JPY_', 'JUPYTER', 'IPYTHON')
BUNDLES = ('REQUESTS_CA_BUNDLE', 'CURL_CA_BUNDLE')


def foreign(name: str) -> bool:
    "Is this variable a setting of whoever runs the tests?"
    if name.startswith((GIVEN, 'OBJECTSTORE_SOAK')): return False
    return name.startswith(FOREIGN) or name in BUNDLES or name.upper().endswith('_PROXY')

def own(
    environ: MutableMapping[str, str],   # Changed
) -> None:
    "Foreign settings go; what belongs to a service that is given stays under a name that only the tests read"
    given = f'{GIVEN}S3_ENDPOINT' in environ
    for name in [n for n in environ if foreign(n)]:
        value = environ.pop(name)
        if given and name.startswith('AWS_'): environ[GIVEN + name] = value
