pytest_plugins = ['fixtures_services', 'trial', 'away']
