"""The command line, `ringmesh`. What a command needs is imported when it runs."""
