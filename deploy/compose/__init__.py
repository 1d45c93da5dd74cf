"""What docker-compose.yml needs beside the services: its partners, and the step that hands passwords to the administrator's steps."""
