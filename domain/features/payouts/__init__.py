"""What a rider is paid for the legs of deliveries: track, tariff and fold."""
