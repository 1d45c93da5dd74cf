-- An edit may change the service level, and with it the date that the customer was told. Null: as order.placed said.
ALTER TABLE order_versions
    ADD COLUMN service_level text,
    ADD COLUMN deliver_by    timestamptz;
