"""The browser of buckets, items and versions: a widget, and a page where widgets cannot run"""
