"""What is written for people agrees with the code, and with what is written elsewhere."""
