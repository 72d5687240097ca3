"""Bytes under keys: the backend contract, memory, files, object services, and the settings that name them"""
