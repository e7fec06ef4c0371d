"""Made-up OCT scans with known layers and lesions."""
