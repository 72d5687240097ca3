"Looking after a store: what it keeps, whether it is whole, and what its tiers promise"
