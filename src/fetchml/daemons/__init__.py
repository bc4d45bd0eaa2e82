"""What runs in the background on this host: the private server and the worker."""
