"""Files of OCT scanners -> volumes and native pixels."""
