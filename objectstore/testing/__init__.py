"""A real S3 service for demos and tests"""
