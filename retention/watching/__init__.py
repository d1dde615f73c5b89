"""What operators look at: status, metrics, health. Reads the control database, changes nothing."""
