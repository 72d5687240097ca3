pytest_plugins = ['fixtures_ground', 'fixtures_services', 'trial', 'away', 'bridge']
