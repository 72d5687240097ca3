"""Versions: one, several as a table, and the parts of a bundle"""
