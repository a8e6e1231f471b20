"""The web server of a node: the console for people, the API for programs, files for devices."""
