"The file system `objectstore://` for fsspec: paths, options, files that become versions, and engines that read it"
