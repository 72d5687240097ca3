"""Conformance suite of backends, and a real S3 service for demos and tests"""
