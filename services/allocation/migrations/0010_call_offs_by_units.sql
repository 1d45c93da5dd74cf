-- Two short picks of one parcel may have the same time, one message per line. A digest of the units tells them apart; what was booked before
-- it was kept has none.
ALTER TABLE fulfillment_cancellations ADD COLUMN said text NOT NULL DEFAULT '';
ALTER TABLE fulfillment_cancellations
    DROP CONSTRAINT fulfillment_cancellations_pkey,
    ADD PRIMARY KEY (fulfillment_id, cause, cancelled_at, said);
