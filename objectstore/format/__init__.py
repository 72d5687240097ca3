"""What lies where, in which order it is written: records, buckets, numbered moves, commit of a version, origin"""
