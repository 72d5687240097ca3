"""What lies where, and in which order it is written: records, buckets, numbered moves, the commit of a version, the origin"""
