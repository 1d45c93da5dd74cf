"""The operators' HTTP API: a gateway to the services that own things. It forwards, validates and maps errors; it decides nothing."""
