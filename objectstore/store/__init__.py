"""The store, its versions, and one page a group of verbs"""
