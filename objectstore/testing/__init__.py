"""Conformance suites of backends and codecs, and a real S3 service for demos and tests"""
