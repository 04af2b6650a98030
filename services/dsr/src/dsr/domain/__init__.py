"""The decisions of the service: pure functions of a state, a command and a time. They never wait and read no clock."""
