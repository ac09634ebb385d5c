"""What other packages left in the project's database, in our words.

Only their tables are read: the packages may have been uninstalled, and nothing that
they stored is imported, called or unpickled.
"""
