"""What a study says, for a reader: figures, tables, one HTML page, made from the run store without torch."""
