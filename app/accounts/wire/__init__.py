"""The account API on the wire: /auth/v1 as the Supabase clients call it."""
