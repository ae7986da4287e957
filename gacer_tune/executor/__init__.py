"""The interpreter that runs any plan of a compiled module, and the tables it is handed."""
