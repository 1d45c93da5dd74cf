"""The private embedded stack: Postgres, RabbitMQ and Ordermesh's processes on free ports of this machine, under one directory."""
