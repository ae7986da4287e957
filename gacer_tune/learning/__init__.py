"""What measured plans teach: recordings, samples made from them, and the model that later searches start with."""
