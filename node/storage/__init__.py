"""What a node keeps on disk: the schema, the database, and the thread that writes behind."""
