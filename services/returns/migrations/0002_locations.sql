-- The places at which parcels may be opened: what returns has heard of location.registered. A scan anywhere else would pay for units that no
-- shelf ever gets back. Places only ever come; a closed one may still get parcels that were sent to it.
CREATE TABLE locations (
    location text PRIMARY KEY
);
