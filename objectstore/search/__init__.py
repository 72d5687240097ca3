"""Conditions, the index of this machine, the change log and the catalogs of a bucket"""
