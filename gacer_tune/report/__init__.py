"""What came out of a tuning run, as a page to read and as a timeline to open in a trace viewer."""
