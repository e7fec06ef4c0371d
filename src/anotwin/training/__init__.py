"""The one loop, its run folders, snapshots and moving average, and the health of what it made."""
