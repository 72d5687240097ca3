import os
import surroundings

surroundings.own(os.environ)      # before any module of the tests is imported, in each process of pytest
pytest_plugins = ['fixtures_ground', 'fixtures_services', 'selections', 'trial', 'planting', 'away', 'bridge']
