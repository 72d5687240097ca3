"""The store: one page a group of verbs"""
