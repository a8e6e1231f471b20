"""The pages of the console: each asks the node what the admin API and the command line ask."""
