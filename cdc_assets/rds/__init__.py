"""RDS and Aurora: events and blue/green deployments."""
