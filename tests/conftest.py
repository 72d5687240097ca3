import os
import pytest
import surroundings

surroundings.own(os.environ)      # before any module of the tests is imported, in each process of pytest
pytest.register_assert_rewrite('objectstore.testing.backend_suite')     # before it is imported
pytest_plugins = ['fixtures_ground', 'fixtures_services', 'selections', 'trial', 'figures', 'planting', 'away',
                  'bridge']
