"""The runtime: claiming, executing and finishing jobs. Reads no arguments, writes no rows."""
