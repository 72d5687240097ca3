"""Near tiers, downloads, memory-mapped copies, the circuit breaker, and the outbox of pending work"""
