"""The demo's working project folder: a CRM database made up on the spot, the starter policies, an archive."""
