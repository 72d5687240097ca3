"""How Python objects become bytes, and come back equal"""
