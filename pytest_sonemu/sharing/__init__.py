"""What tests ask for, and who shares it: settings, marks, scopes, the pool, fixture factories."""
