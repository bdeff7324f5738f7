"""The command line: a function for each verb, which reads a recipe or a bundle and calls one of the API."""
