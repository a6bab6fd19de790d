"""The faults that the design names, each as one function that does it to a running ridelog."""
