"""The command line: verbs made from the table of stages, and the verbs that look and ask."""
