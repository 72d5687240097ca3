"""Calculated objects: lineage, fingerprints, freshness, single flight, map"""
