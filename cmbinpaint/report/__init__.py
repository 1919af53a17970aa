"""The page on a filled map: its contents, figures, tables and HTML."""
