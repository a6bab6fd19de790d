"""The leakage battery: small histories with a question and its right answer, for any feature store."""
