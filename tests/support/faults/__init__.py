"""The faults that the design names, each as one function that injects it into a running ridelog."""
