-- Cancellation after the cutoff: parcels that a 3PL is asked to hold back, and the prepaid returns of those that left all the same.
ALTER TABLE fulfillments
    -- the return of a parcel that leaves although it was cancelled
    ADD COLUMN return_id uuid,
    DROP CONSTRAINT fulfillments_state_check,
    ADD CONSTRAINT fulfillments_state_check CHECK (state IN (
        'planned', 'submitted', 'accepted', 'cancelling', 'cancel_refused', 'intercepting', 'intercept_failed', 'incomplete', 'shipped',
        'delivered', 'called_off', 'intercepted', 'rejected', 'emptied', 'withdrawn')),
    DROP COLUMN status,
    DROP COLUMN request_status;
-- the words of blueprint section 5; interception has an axis of its own
ALTER TABLE fulfillments
    ADD COLUMN status         text NOT NULL GENERATED ALWAYS AS (CASE
        WHEN state IN ('planned', 'submitted', 'cancelling') THEN 'open'
        WHEN state IN ('accepted', 'cancel_refused', 'intercepting', 'intercept_failed') THEN 'in_progress'
        WHEN state = 'incomplete' THEN 'incomplete'
        WHEN state IN ('shipped', 'delivered') THEN 'closed'
        ELSE 'cancelled' END) STORED,
    ADD COLUMN request_status text NOT NULL GENERATED ALWAYS AS (CASE
        WHEN state IN ('planned', 'withdrawn') THEN 'unsubmitted'
        WHEN state = 'cancelling' THEN 'cancellation_requested'
        WHEN state = 'called_off' THEN 'cancellation_accepted'
        WHEN state = 'cancel_refused' THEN 'cancellation_rejected'
        WHEN state IN ('submitted', 'accepted', 'rejected') THEN state
        WHEN state IN ('intercepting', 'intercept_failed') THEN 'accepted'
        ELSE 'closed' END) STORED,
    ADD COLUMN interception   text GENERATED ALWAYS AS (CASE
        WHEN state = 'intercepting' THEN 'requested'
        WHEN state = 'intercepted' THEN 'succeeded'
        WHEN return_id IS NOT NULL THEN 'failed' END) STORED;
