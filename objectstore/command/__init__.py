"Command `objectstore`: the verbs of a store in a shell, in cron and in CI"
